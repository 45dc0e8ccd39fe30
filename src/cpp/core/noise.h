#pragma once
// The masks of noise inside the steps: for each sequence a row of elements, whose words of Philox
// are a function of (seed, layer, direction, kind, step, sequence, unit) alone.

#include "core/dropout.h"

namespace rnnfast {

// What a mask is drawn for. The first kinds are zoneout of state 0, 1, ...
enum NoiseKind : unsigned {
  kZoneout = 1,
  kCandidateDropout = 13,
  kInputDropout = 14,
  kRecurrentDropout = 15
};

RNNFAST_INLINE unsigned noise_cell(Index layer, Index direction) {
  return unsigned(2 * layer + direction);
}

// The mask of a layer in one direction, by its `noise_cell`.
template <class T>
RNNFAST_INLINE Dropout<T> noise_mask(double p, unsigned long long seed, unsigned cell,
                                     unsigned kind, Index step = 0) {
  return Dropout<T>(p, seed, unsigned(step), cell << 4 | kind);
}

// The element with which a sequence's row begins.
RNNFAST_INLINE constexpr Index noise_row(Index sequence) { return sequence << 34; }

}  // namespace rnnfast
