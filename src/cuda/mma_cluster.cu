#include "cuda/exchange.cuh"
#include "cuda/mma_launch.cuh"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

void forward_mma_cluster(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                         cudaStream_t stream) {
  MmaKernels<ClusterExchange>::forward(cell, plan, products, args, stream);
}

void backward_mma_cluster(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                          cudaStream_t stream) {
  MmaKernels<ClusterExchange>::backward(cell, plan, products, args, stream);
}

}  // namespace rnnfast::cuda
