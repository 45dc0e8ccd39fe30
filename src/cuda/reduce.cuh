#pragma once
// Sums over a block in a fixed order.

#include "cuda/device.cuh"

namespace rnnfast::cuda {

inline constexpr int kReduceThreads = 256;  // of the blocks that call block_sum

struct WarpSums {
  double values[kReduceThreads / 32];
};

// Returns the sum of all threads' values to thread 0. All threads must call it, once per kernel.
RNNFAST_DEVICE double block_sum(double value) {
  RNNFAST_SHARED(WarpSums, sums);
  for (int distance = 16; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  if (threadIdx.x % 32 == 0) sums.values[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  if (threadIdx.x == 0)
    for (double sum : sums.values) total += sum;
  return total;
}

}  // namespace rnnfast::cuda
