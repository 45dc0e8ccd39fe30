#pragma once
// The recurrent kernels as host code calls them: one layer in one direction.

#include <string>
#include <vector>

#include "cuda/plan.h"
#include "cuda/recurrent.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

// The device functions that a kernel's pass launches for a cell, in the order of function_names.
using Functions = std::vector<const void*>;

template <class... Parameters>
const void* address(void (*function)(Parameters...)) {
  return reinterpret_cast<const void*>(function);
}

// The passes of a kernel; they take its functions for the cell and a plan for this kernel.
struct RecurrentKernel {
  void (*forward)(const Functions& functions, const CellInfo& cell, const Plan& plan,
                  const ForwardArgs& args, cudaStream_t stream);
  void (*backward)(const Functions& functions, const CellInfo& cell, const Plan& plan,
                   const BackwardArgs& args, cudaStream_t stream);
  // The functions of a cell of AheadCells. `paired`: products multiply pairs of bfloat16.
  Functions (*ahead)(int place, Pass pass, bool paired);
};

// Each is defined in the file of its name.
extern const RecurrentKernel grid, mma_block, mma_cluster, mma_flags, gemm_step;

const RecurrentKernel& recurrent_kernel(Kernel kernel);

// The C++ names of the functions for a type `cell`, and the header that defines them.
std::vector<std::string> function_names(Kernel kernel, Pass pass, bool paired, const CellInfo& info,
                                        const std::string& cell);
const char* header_of(Kernel kernel);

}  // namespace rnnfast::cuda
