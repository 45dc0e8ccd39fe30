#pragma once
// Which of the compiled instruction sets runs, and how it makes products in bfloat16. Chosen once,
// best first; RNNFAST_ISA and RNNFAST_BF16 override.

#include <string>
#include <vector>

#include "cells/registry.h"
#include "cpu/dense_table.h"
#include "cpu/traced_cells.h"

namespace rnnfast {

struct Isa {
  const char* name;
  int vector_bits;
  // Defined in the set's own objects: not to be called where the CPU does not support it.
  const FormatKernels<float>& (*rnn_float)(const float*);
  const FormatKernels<double>& (*rnn_double)(const double*);
  const FormatKernels<float>& (*rnn_bf16)(const Bf16Converted*);
  const DenseKernels<float>& (*dense_float)(float);
  const DenseKernels<double>& (*dense_double)(double);
};

const std::vector<Isa>& compiled_isas();  // best first
bool isa_supported(const Isa& isa);       // by this CPU
std::string cpu_model();

// Throws Error if RNNFAST_ISA names none of the compiled sets that this CPU has.
const Isa& active_isa();

// How products in bfloat16 are made: "convert" or "dot". Throws Error if RNNFAST_BF16 names a way
// that this CPU and the active set do not have.
const std::string& active_bf16();

// The active set's functions, for T = float and double; bfloat16 is there for float alone.
template <class T>
const FormatKernels<T>& format_kernels(Precision precision);
template <class T>
const CellKernels<T>& kernels(int cell, Precision precision) {
  if (cell >= Cells::size) return traced_kernels<T>(cell, precision);
  return format_kernels<T>(precision).cells[cell];
}
template <class T>
const DenseKernels<T>& dense();

}  // namespace rnnfast
