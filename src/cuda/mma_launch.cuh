#pragma once
// The kernels of one Exchange, for every cell. On devices too old for the exchange they compile to
// nothing, and no plan picks them. __launch_bounds__(.., 1) lets the compiler use all registers;
// otherwise it spills to fit more blocks.

#include "cuda/mma_kernels.cuh"
#include "cuda/tiled_launch.cuh"

namespace rnnfast::cuda {

template <class Cell, bool kSplit, class Exchange>
__global__ void __launch_bounds__(kThreads, 1)
    forward_mma_kernel(ForwardArgs args, GridShape shape) {
  RNNFAST_DYNAMIC_SHARED(memory);
  if constexpr (compiled_for(Exchange::kCapability))
    forward_mma<Cell, kSplit, Exchange>(args, shape, memory);
}
template <class Cell, bool kSplit, class Exchange>
__global__ void __launch_bounds__(kThreads, 1)
    backward_mma_kernel(BackwardArgs args, GridShape shape) {
  RNNFAST_DYNAMIC_SHARED(memory);
  if constexpr (compiled_for(Exchange::kCapability))
    backward_mma<Cell, kSplit, Exchange>(args, shape, memory);
}

template <bool kSplit, class Exchange>
struct Mma {
  template <class Cell>
  static constexpr auto kForward = &forward_mma_kernel<Cell, kSplit, Exchange>;
  template <class Cell>
  static constexpr auto kBackward = &backward_mma_kernel<Cell, kSplit, Exchange>;
};

template <class Exchange>
struct MmaFamilies {
  template <class Args>
  static void run(int cell, Products products, const Plan& plan, const Args& args,
                  cudaStream_t stream) {
    const auto family = products == Products::bfloat16x3 ? &run_tiled<Mma<true, Exchange>, Args>
                                                         : &run_tiled<Mma<false, Exchange>, Args>;
    family(cell, products, plan, args, stream);
  }
  static constexpr RecurrentKernel kKernel{&run<ForwardArgs>, &run<BackwardArgs>};
};

}  // namespace rnnfast::cuda
