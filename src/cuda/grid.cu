#include "cuda/grid_kernels.cuh"
#include "cuda/tiled_launch.cuh"

namespace rnnfast::cuda {
namespace {

template <bool kBf16>
struct Grid {
  template <class Cell>
  static constexpr auto kForward = &forward_grid_kernel<Cell, kBf16>;
  template <class Cell>
  static constexpr auto kBackward = &backward_grid_kernel<Cell, kBf16>;
};

}  // namespace

const RecurrentKernel grid = TiledFamilies<Grid<false>, Grid<true>, Products::bfloat16>::kKernel;

}  // namespace rnnfast::cuda
