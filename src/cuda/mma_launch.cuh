#pragma once
// The kernels of one Exchange, for every cell.

#include "cuda/mma_kernels.cuh"
#include "cuda/persistent_launch.cuh"

namespace rnnfast::cuda {

template <bool kSplit, class Exchange>
struct Mma {
  template <class Cell>
  static constexpr auto kForward = &forward_mma_kernel<Cell, kSplit, Exchange>;
  template <class Cell>
  static constexpr auto kBackward = &backward_mma_kernel<Cell, kSplit, Exchange>;
};

template <class Exchange>
Functions mma_functions(int place, Pass pass, bool paired) {
  return paired ? persistent_functions<Mma<true, Exchange>>(AheadCells{}, place, pass)
                : persistent_functions<Mma<false, Exchange>>(AheadCells{}, place, pass);
}

template <class Exchange>
inline constexpr RecurrentKernel kMmaKernel{
    &run_persistent<ForwardArgs>, &run_persistent<BackwardArgs>, &mma_functions<Exchange>};

}  // namespace rnnfast::cuda
