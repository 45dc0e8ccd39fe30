#include "cuda/mma_launch.cuh"

namespace rnnfast::cuda {

const RecurrentKernel mma_cluster = kMmaKernel<ClusterExchange>;

}  // namespace rnnfast::cuda
