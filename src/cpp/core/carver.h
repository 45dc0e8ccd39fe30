#pragma once
// Cuts one block of memory into arrays that begin at cache lines; with a null base it only counts.

#include "core/index.h"
#include "core/macros.h"

namespace rnnfast {

template <class T>
struct Carver {
  T* base;
  Index used = 0;  // values

  RNNFAST_INLINE T* take(Index count) {
    constexpr Index line = 64 / sizeof(T);
    T* piece = base ? base + used : nullptr;
    used += (count + line - 1) / line * line;
    return piece;
  }
};

}  // namespace rnnfast
