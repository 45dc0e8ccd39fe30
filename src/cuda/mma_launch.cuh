#pragma once
// The kernels of one Exchange, for every cell, and their launches. For an older device than an
// exchange needs the kernels are empty; no plan chooses them there. The bounds say that a
// multiprocessor needs to hold one block alone, else the compiler may spill to fit more.

#include "cells/registry.h"
#include "cuda/mma_kernels.cuh"
#include "cuda/plan.h"

namespace rnnfast::cuda {

template <class Cell, bool kSplit, class Exchange>
__global__ void __launch_bounds__(kThreads, 1) forward_mma_kernel(ForwardArgs args, MmaGrid grid) {
  RNNFAST_DYNAMIC_SHARED(memory);
  if constexpr (compiled_for(Exchange::kCapability))
    forward_mma<Cell, kSplit, Exchange>(args, grid, memory);
}
template <class Cell, bool kSplit, class Exchange>
__global__ void __launch_bounds__(kThreads, 1)
    backward_mma_kernel(BackwardArgs args, MmaGrid grid) {
  RNNFAST_DYNAMIC_SHARED(memory);
  if constexpr (compiled_for(Exchange::kCapability))
    backward_mma<Cell, kSplit, Exchange>(args, grid, memory);
}

template <class Exchange>
class MmaKernels {
 public:
  static void forward(int cell, const Plan& plan, Products products, const ForwardArgs& args,
                      cudaStream_t stream) {
    run(products == Products::bfloat16x3 ? forward_kernel<true>(Cells{}, cell)
                                         : forward_kernel<false>(Cells{}, cell),
        plan, args, stream);
  }
  static void backward(int cell, const Plan& plan, Products products, const BackwardArgs& args,
                       cudaStream_t stream) {
    run(products == Products::bfloat16x3 ? backward_kernel<true>(Cells{}, cell)
                                         : backward_kernel<false>(Cells{}, cell),
        plan, args, stream);
  }

 private:
  template <bool kSplit, class... Cell>
  static auto forward_kernel(TypeList<Cell...>, int cell) {
    static constexpr void (*kernels[])(ForwardArgs,
                                       MmaGrid) = {forward_mma_kernel<Cell, kSplit, Exchange>...};
    return kernels[cell];
  }
  template <bool kSplit, class... Cell>
  static auto backward_kernel(TypeList<Cell...>, int cell) {
    static constexpr void (*kernels[])(BackwardArgs,
                                       MmaGrid) = {backward_mma_kernel<Cell, kSplit, Exchange>...};
    return kernels[cell];
  }
  template <class Kernel, class Args>
  static void run(Kernel kernel, const Plan& plan, const Args& args, cudaStream_t stream) {
    Launch config;
    config.grid = dim3(plan.slices, plan.tiles);
    config.block = dim3(kThreads);
    config.shared_bytes = plan.shared_bytes;
    config.cooperative = plan.cooperative;
    config.cluster = plan.cluster;
    config.stream = stream;
    launch(config, kernel, args, MmaGrid{plan.units, plan.rows});
  }
};

}  // namespace rnnfast::cuda
