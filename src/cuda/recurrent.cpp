#include "core/error.h"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

void recurrent_forward(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                       cudaStream_t stream) {
  switch (plan.kernel) {
    case Kernel::grid:
      return forward_grid(cell, products, plan, args, stream);
    case Kernel::block:
      return forward_mma_block(cell, products, plan, args, stream);
    case Kernel::cluster:
      return forward_mma_cluster(cell, products, plan, args, stream);
    case Kernel::flags:
      return forward_mma_flags(cell, products, plan, args, stream);
    default:
      RNNFAST_CHECK(false, "recurrent_forward: no such kernel: ", int(plan.kernel));
  }
}

void recurrent_backward(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                        cudaStream_t stream) {
  switch (plan.kernel) {
    case Kernel::grid:
      return backward_grid(cell, products, plan, args, stream);
    case Kernel::block:
      return backward_mma_block(cell, products, plan, args, stream);
    case Kernel::cluster:
      return backward_mma_cluster(cell, products, plan, args, stream);
    case Kernel::flags:
      return backward_mma_flags(cell, products, plan, args, stream);
    default:
      RNNFAST_CHECK(false, "recurrent_backward: no such kernel: ", int(plan.kernel));
  }
}

}  // namespace rnnfast::cuda
