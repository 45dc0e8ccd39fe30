#pragma once
// The threads that work on one call, as kernels see them. Kernel files include this: no standard
// headers, nothing that leaves a symbol behind.

#include "core/macros.h"

namespace rnnfast {

struct Team {
  int size;  // threads of this call; their numbers are 0 .. size - 1
  // Waits for `threads` threads at one of the barriers.
  void (*wait)(void* barriers, int number, int threads);
  void* barriers;  // null in a team of one
  int number = 0;  // of this team's barrier

  // One of `count` groups of equal size, threads [which * n, (which + 1) * n) of the team. It
  // numbers them from 0 and has a barrier of its own.
  RNNFAST_INLINE Team group(int which, int count) const {
    return {size / count, wait, barriers, 1 + which};
  }

  // Returns when every thread of the team has called it; what they wrote before is then visible.
  RNNFAST_INLINE void barrier() const {
    if (size > 1) wait(barriers, number, size);
  }
};

}  // namespace rnnfast
