#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

const RecurrentKernel& recurrent_kernel(Kernel kernel) {
  static constexpr const RecurrentKernel* kernels[] = {&grid, &mma_block, &mma_cluster, &mma_flags,
                                                       &gemm_step};  // in the order of Kernel
  return *kernels[int(kernel)];
}

}  // namespace rnnfast::cuda
