#pragma once
// Which of the compiled instruction sets runs. Chosen once, best first; RNNFAST_ISA overrides.

#include <string>
#include <vector>

#include "cpu/dense_table.h"
#include "cpu/kernel_table.h"

namespace rnnfast {

struct Isa {
  const char* name;
  int vector_bits;
  // Defined in the set's own objects: not to be called where the CPU does not support it.
  const CellKernels<float>* (*cells_float)(float);  // by the cell's place in the registry
  const CellKernels<double>* (*cells_double)(double);
  const DenseKernels<float>& (*dense_float)(float);
  const DenseKernels<double>& (*dense_double)(double);
};

const std::vector<Isa>& compiled_isas();  // best first
bool isa_supported(const Isa& isa);       // by this CPU
std::string cpu_model();

// Throws Error if RNNFAST_ISA names none of the compiled sets that this CPU has.
const Isa& active_isa();

// The active set's functions, for T = float and double.
template <class T>
const CellKernels<T>& kernels(int cell);
template <class T>
const DenseKernels<T>& dense();

}  // namespace rnnfast
