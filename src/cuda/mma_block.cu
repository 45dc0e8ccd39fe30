#include "cuda/mma_launch.cuh"

namespace rnnfast::cuda {

const RecurrentKernel mma_block = kMmaKernel<BlockExchange>;

}  // namespace rnnfast::cuda
