#include "cells/registry.h"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {
namespace {

template <class... Cell>
const CellInfo& info_of(TypeList<Cell...>, int cell) {
  static constexpr CellInfo infos[] = {Cell::info...};
  return infos[cell];
}

}  // namespace

const CellInfo& cell_info(int cell) { return info_of(Cells{}, cell); }

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
    case Kernel::gemm:
      return forward_gemm(cell, products, plan, args, stream);
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
    case Kernel::gemm:
      return backward_gemm(cell, products, plan, args, stream);
  }
}

}  // namespace rnnfast::cuda
