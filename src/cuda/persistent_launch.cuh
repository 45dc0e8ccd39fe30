#pragma once
// Launches of the persistent kernels, whose blocks share a layer as slices of units x sub-batches,
// for every cell.

#include "cuda/ahead.h"
#include "cuda/device.cuh"
#include "cuda/recurrent_launch.h"
#include "cuda/resources.h"

namespace rnnfast::cuda {

template <class Args>
void run_persistent(const Functions& functions, const CellInfo&, const Plan& plan, const Args& args,
                    cudaStream_t stream) {
  launch({.grid = dim3(plan.slices, plan.sub_batches),
          .block = dim3(kThreads),
          .shared_bytes = plan.shared_bytes,
          .cooperative = plan.cooperative,
          .cluster = unsigned(plan.cluster),
          .stream = stream},
         reinterpret_cast<void (*)(Args, GridShape)>(functions.at(0)), args,
         GridShape{plan.units, plan.rows});
}

// A Family has the kernels kForward<Cell> and kBackward<Cell>.
template <class Family, class... Cell>
Functions persistent_functions(TypeList<Cell...>, int place, Pass pass) {
  const Functions forward{address(Family::template kForward<Cell>)...};
  const Functions backward{address(Family::template kBackward<Cell>)...};
  return {(pass == Pass::forward ? forward : backward).at(std::size_t(place))};
}

}  // namespace rnnfast::cuda
