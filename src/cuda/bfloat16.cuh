#pragma once
// Values rounded to bfloat16, and the operands of tensor cores: pairs of such values and, for more
// precision, pairs of the rounding errors.

#include "cuda/device.cuh"

namespace rnnfast::cuda {

// Rounds to bfloat16, to nearest even.
RNNFAST_DEVICE float rounded(float x) { return __uint_as_float(bfloat16_bits(x) << 16); }

// Two adjacent values of a row, rounded, and their rounding errors, also rounded (0 if not finite).
struct Pair {
  uint32_t high, low;

  RNNFAST_DEVICE static Pair of(float first, float second) {
    const uint32_t a = bfloat16_bits(first), b = bfloat16_bits(second);
    return {a | b << 16, bfloat16_bits(rest(first, a)) | bfloat16_bits(rest(second, b)) << 16};
  }

 private:
  RNNFAST_DEVICE static float rest(float x, uint32_t bits) {
    const float rounded = __uint_as_float(bits << 16);
    return rounded - rounded == 0.f ? x - rounded : 0.f;
  }
};

}  // namespace rnnfast::cuda
