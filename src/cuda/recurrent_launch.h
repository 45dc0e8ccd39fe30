#pragma once
// The recurrent kernels as host code calls them: one layer in one direction.

#include "cuda/plan.h"
#include "cuda/recurrent.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

// The passes of a kernel. `cell` is a place in the registry, the plan one for this kernel.
struct RecurrentKernel {
  void (*forward)(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                  cudaStream_t stream);
  void (*backward)(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                   cudaStream_t stream);
};

// Each in the file of its name.
extern const RecurrentKernel grid, mma_block, mma_cluster, mma_flags, gemm_step;

const RecurrentKernel& recurrent_kernel(Kernel kernel);

}  // namespace rnnfast::cuda
