#include "cells/registry.h"
#include "cuda/grid_kernels.cuh"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {
namespace {

using ForwardKernel = void (*)(ForwardArgs, GridShape);
using BackwardKernel = void (*)(BackwardArgs, GridShape);

template <bool kBf16, class... Cell>
ForwardKernel forward_kernel(TypeList<Cell...>, int cell) {
  static constexpr ForwardKernel kernels[] = {forward_grid_kernel<Cell, kBf16>...};
  return kernels[cell];
}
template <bool kBf16, class... Cell>
BackwardKernel backward_kernel(TypeList<Cell...>, int cell) {
  static constexpr BackwardKernel kernels[] = {backward_grid_kernel<Cell, kBf16>...};
  return kernels[cell];
}

Launch shape_of(const Plan& plan, cudaStream_t stream) {
  Launch launch;
  launch.grid = dim3(plan.slices, plan.tiles);
  launch.block = dim3(kThreads);
  launch.shared_bytes = plan.shared_bytes;
  launch.cooperative = plan.slices > 1;
  launch.stream = stream;
  return launch;
}

}  // namespace

void forward_grid(int cell, Products products, const Plan& plan, const ForwardArgs& args,
                  cudaStream_t stream) {
  const auto kernel = products == Products::bfloat16 ? forward_kernel<true>(Cells{}, cell)
                                                     : forward_kernel<false>(Cells{}, cell);
  launch(shape_of(plan, stream), kernel, args, GridShape{plan.units, plan.rows});
}

void backward_grid(int cell, Products products, const Plan& plan, const BackwardArgs& args,
                   cudaStream_t stream) {
  const auto kernel = products == Products::bfloat16 ? backward_kernel<true>(Cells{}, cell)
                                                     : backward_kernel<false>(Cells{}, cell);
  launch(shape_of(plan, stream), kernel, args, GridShape{plan.units, plan.rows});
}

}  // namespace rnnfast::cuda
