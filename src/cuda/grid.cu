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

}  // namespace

const RecurrentKernel grid{&run_tiled<Grid, ForwardArgs>, &run_tiled<Grid, BackwardArgs>};

}  // namespace rnnfast::cuda
