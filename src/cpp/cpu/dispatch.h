#pragma once
// Chooses the instruction set that runs, and how it computes products of bfloat16 and of 8-bit
// integers: once, the best that the CPU supports, unless RNNFAST_ISA, RNNFAST_BF16 or RNNFAST_INT8
// names another.

#include <string>
#include <vector>

#include "cells/registry.h"
#include "cpu/dense_table.h"
#include "cpu/traced_cells.h"

namespace rnnfast {

struct Isa {
  const char* name;
  int vector_bits;
  // Defined in the set's own objects: do not call them on a CPU that does not support the set.
  const FormatKernels<float>& (*rnn_float)(const float*);
  const FormatKernels<double>& (*rnn_double)(const double*);
  const FormatKernels<float>& (*rnn_bf16)(const Bf16Converted*);
  const FormatKernels<float>& (*rnn_int8)(const Int8Multiplied*);
  const DenseKernels<float>& (*dense_float)(float);
  const DenseKernels<double>& (*dense_double)(double);
};

const std::vector<Isa>& compiled_isas();  // best first
bool isa_supported(const Isa& isa);       // whether this CPU can run it
std::string cpu_model();

// Throws Error if RNNFAST_ISA names none of the compiled sets that this CPU has.
const Isa& active_isa();

// How bfloat16 products are computed: "convert" or "dot". Throws Error if RNNFAST_BF16 names a way
// that this CPU or the active set does not support.
const std::string& active_bf16();

// The same for products of 8-bit integers: "multiply" or "dot", which have the same bits.
// RNNFAST_INT8 names a way.
const std::string& active_int8();

// The active set's functions, for T = float and double. Other precisions than `full` exist for
// float only.
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
