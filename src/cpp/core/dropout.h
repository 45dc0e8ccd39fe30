#pragma once
// Inverted dropout whose mask is a function of (seed, layer, element) alone: the same for any
// number of threads and on every device, and backward makes it again instead of storing it.

#include "core/index.h"
#include "core/philox.h"

namespace rnnfast {

template <class T>
struct Dropout {
  static constexpr int kBlock = 4;  // elements that share a counter, a word each

  T scale;             // of what is kept
  unsigned threshold;  // words below it drop their element
  PhiloxKey key;
  unsigned layer;
  unsigned kind;  // of what else draws with this seed; 0 for the outputs of layers

  // Each element is dropped with probability p.
  RNNFAST_INLINE Dropout(double p, unsigned long long seed, unsigned layer, unsigned kind = 0)
      : scale(p < 1 ? T(1 / (1 - p)) : T(0)),
        threshold(p < 1 ? unsigned(p * 0x1p32) : ~0u),
        key{unsigned(seed), unsigned(seed >> 32)},
        layer(layer),
        kind(kind) {}

  // The words of elements kBlock * block and on.
  RNNFAST_INLINE void words(Index block, unsigned (&words)[kBlock]) const {
    words[0] = unsigned(block);
    words[1] = unsigned(block >> 32);
    words[2] = layer;
    words[3] = kind;
    philox(words, key);
  }

  RNNFAST_INLINE T apply(T x, unsigned word) const { return word < threshold ? T(0) : x * scale; }
};

}  // namespace rnnfast
