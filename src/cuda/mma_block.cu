#include "cuda/exchange.cuh"
#include "cuda/mma_launch.cuh"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

void forward_mma_block(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                       cudaStream_t stream) {
  MmaKernels<BlockExchange>::forward(cell, plan, products, args, stream);
}

void backward_mma_block(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                        cudaStream_t stream) {
  MmaKernels<BlockExchange>::backward(cell, plan, products, args, stream);
}

}  // namespace rnnfast::cuda
