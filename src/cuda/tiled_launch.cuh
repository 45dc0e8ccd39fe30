#pragma once
// Launches of the kernels that share a layer as slices of units x tiles of the batch, for every
// cell.

#include "cells/registry.h"
#include "cuda/device.cuh"
#include "cuda/recurrent_launch.h"
#include "cuda/resources.h"

namespace rnnfast::cuda {

template <class Args>
using TiledKernel = void (*)(Args, GridShape);

template <class Args>
void launch_tiled(TiledKernel<Args> kernel, const Plan& plan, const Args& args,
                  cudaStream_t stream) {
  launch({.grid = dim3(plan.slices, plan.tiles),
          .block = dim3(kThreads),
          .shared_bytes = plan.shared_bytes,
          .cooperative = plan.cooperative,
          .cluster = unsigned(plan.cluster),
          .stream = stream},
         kernel, args, GridShape{plan.units, plan.rows});
}

// A Family has the kernels kForward<Cell> and kBackward<Cell>.
template <class Family, class... Cell>
TiledKernel<ForwardArgs> kernel_of(TypeList<Cell...>, int cell, const ForwardArgs&) {
  static constexpr TiledKernel<ForwardArgs> kernels[] = {Family::template kForward<Cell>...};
  return kernels[cell];
}
template <class Family, class... Cell>
TiledKernel<BackwardArgs> kernel_of(TypeList<Cell...>, int cell, const BackwardArgs&) {
  static constexpr TiledKernel<BackwardArgs> kernels[] = {Family::template kBackward<Cell>...};
  return kernels[cell];
}

template <class Family, class Args>
void run_tiled(int cell, Products, const Plan& plan, const Args& args, cudaStream_t stream) {
  launch_tiled(kernel_of<Family>(Cells{}, cell, args), plan, args, stream);
}

}  // namespace rnnfast::cuda
