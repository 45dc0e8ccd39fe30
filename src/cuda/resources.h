#pragma once
// What a block of each kernel takes, for kernels and plan alike: plain functions, free of CUDA.

#include "core/macros.h"

namespace rnnfast::cuda {

inline constexpr int kThreads = 256;  // of every recurrent kernel's block

RNNFAST_INLINE constexpr int round_up(int n, int multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
RNNFAST_INLINE constexpr int divide_up(int n, int by) { return (n + by - 1) / by; }

// Multiply-adds in float32 (fma_product.cuh): weights [gate][unit][depth], then two slabs
// [row][depth] that are filled and read in turn.
inline constexpr int kFmaRows = 8;   // of a slab, at most
inline constexpr int kFmaUnits = 4;  // units are padded to this
inline constexpr int kFmaRegisters = 128;

RNNFAST_INLINE constexpr long fma_shared_bytes(int gates, int units, int hidden) {
  return 4L * round_up(hidden, 4) * (long(gates) * round_up(units, kFmaUnits) + 2 * kFmaRows);
}

// Tensor cores: weights in bfloat16, twice if split into a high and a low part, then two buffers of
// h, their rows 64 bytes apart modulo 128 so that the banks differ.
inline constexpr int kMmaRows = 8;
inline constexpr int kMmaUnits = 8;
inline constexpr int kMmaRegisters = 255;

RNNFAST_INLINE constexpr long mma_shared_bytes(int gates, int units, int hidden, int rows,
                                               bool split) {
  const long depth = round_up(hidden, 64), parts = split ? 2 : 1;
  const long weights = 2 * parts * depth * gates * round_up(units, kMmaUnits);
  return weights + 2 * parts * 2 * (depth + 32) * round_up(rows, kMmaRows);
}

}  // namespace rnnfast::cuda
