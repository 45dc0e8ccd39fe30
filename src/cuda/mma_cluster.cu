#include "cuda/exchange.cuh"
#include "cuda/mma_launch.cuh"

namespace rnnfast::cuda {

const RecurrentKernel mma_cluster = MmaFamilies<ClusterExchange>::kKernel;

}  // namespace rnnfast::cuda
