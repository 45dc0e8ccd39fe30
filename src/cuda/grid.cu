#include "cuda/grid_kernels.cuh"
#include "cuda/tiled_launch.cuh"

namespace rnnfast::cuda {
namespace {

struct Grid {
  template <class Cell>
  static constexpr auto kForward = &forward_grid_kernel<Cell>;
  template <class Cell>
  static constexpr auto kBackward = &backward_grid_kernel<Cell>;
};

Functions ahead(int place, Pass pass, bool) {
  return tiled_functions<Grid>(AheadCells{}, place, pass);
}

}  // namespace

const RecurrentKernel grid{&run_tiled<ForwardArgs>, &run_tiled<BackwardArgs>, &ahead};

}  // namespace rnnfast::cuda
