#include "core/error.h"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

void recurrent_forward(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                       cudaStream_t stream) {
  switch (plan.kernel) {
    case Kernel::grid:
    case Kernel::block:
      return forward_grid(cell, products, plan, args, stream);
    default:
      RNNFAST_CHECK(false, "recurrent_forward: no such kernel: ", int(plan.kernel));
  }
}

void recurrent_backward(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                        cudaStream_t stream) {
  switch (plan.kernel) {
    case Kernel::grid:
    case Kernel::block:
      return backward_grid(cell, products, plan, args, stream);
    default:
      RNNFAST_CHECK(false, "recurrent_backward: no such kernel: ", int(plan.kernel));
  }
}

}  // namespace rnnfast::cuda
