#pragma once
// Runs a layer in one direction with the kernel that a plan chose.

#include "cuda/plan.h"
#include "cuda/recurrent.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

const CellInfo& cell_info(int cell);  // by its place in the registry

void recurrent_forward(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                       cudaStream_t stream);
void recurrent_backward(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                        cudaStream_t stream);

// Each kernel's own, in the file of its name; called by the two above.
void forward_grid(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                  cudaStream_t stream);
void backward_grid(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                   cudaStream_t stream);
void forward_mma_block(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                       cudaStream_t stream);
void backward_mma_block(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                        cudaStream_t stream);
void forward_mma_cluster(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                         cudaStream_t stream);
void backward_mma_cluster(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                          cudaStream_t stream);
void forward_mma_flags(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                       cudaStream_t stream);
void backward_mma_flags(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                        cudaStream_t stream);
void forward_gemm(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                  cudaStream_t stream);
void backward_gemm(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                   cudaStream_t stream);

}  // namespace rnnfast::cuda
