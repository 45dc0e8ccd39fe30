#pragma once
// Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011): four random words as a function of a counter
// and a key, the same on every device.

#include "core/macros.h"

namespace rnnfast {

struct PhiloxKey {
  unsigned low, high;
};

// Turns the counter into its random words.
RNNFAST_INLINE void philox(unsigned (&x)[4], PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const unsigned long long p = 0xd2511f53ull * x[0], q = 0xcd9e8d57ull * x[2];
    x[0] = unsigned(q >> 32) ^ x[1] ^ key.low;
    x[1] = unsigned(q);
    x[2] = unsigned(p >> 32) ^ x[3] ^ key.high;
    x[3] = unsigned(p);
    key.low += 0x9e3779b9u;
    key.high += 0xbb67ae85u;
  }
}

}  // namespace rnnfast
