#include "cuda/grid_kernels.cuh"
#include "cuda/persistent_launch.cuh"

namespace rnnfast::cuda {
namespace {

struct Grid {
  template <class Cell>
  static constexpr auto kForward = &forward_grid_kernel<Cell>;
  template <class Cell>
  static constexpr auto kBackward = &backward_grid_kernel<Cell>;
};

Functions ahead(int place, Pass pass, bool) {
  return persistent_functions<Grid>(AheadCells{}, place, pass);
}

}  // namespace

const RecurrentKernel grid{&run_persistent<ForwardArgs>, &run_persistent<BackwardArgs>, &ahead};

}  // namespace rnnfast::cuda
