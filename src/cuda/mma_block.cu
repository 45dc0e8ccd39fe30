#include "cuda/exchange.cuh"
#include "cuda/mma_launch.cuh"

namespace rnnfast::cuda {

const RecurrentKernel mma_block = MmaFamilies<BlockExchange>::kKernel;

}  // namespace rnnfast::cuda
