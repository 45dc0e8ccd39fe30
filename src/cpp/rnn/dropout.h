#pragma once
// Inverted dropout whose mask is a function of (seed, element) alone, so that it is the same for
// any number of threads and backward makes it again instead of storing it.

#include <cstdint>

#include "cpu/kernel_table.h"

namespace rnnfast {

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
inline std::uint64_t mix_bits(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// to[i] = from[i] / (1 - p) or, with probability p, 0, for i in [begin, end). May work in place.
template <class T>
void apply_dropout(const T* from, Index begin, Index end, double p, std::uint64_t seed, T* to) {
  const T scale = p < 1 ? T(1 / (1 - p)) : T(0);
  const std::uint64_t threshold = static_cast<std::uint64_t>(p * 0x1p32);
  const std::uint64_t stream = mix_bits(seed);
  for (Index i = begin; i < end; ++i) {
    const std::uint64_t bits = mix_bits(stream + static_cast<std::uint64_t>(i)) >> 32;
    to[i] = bits < threshold ? T(0) : from[i] * scale;
  }
}

}  // namespace rnnfast
