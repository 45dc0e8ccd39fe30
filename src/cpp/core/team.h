#pragma once
// The threads that work on one call, as kernels see them. Kernel files include this: no standard
// headers, nothing that leaves a symbol behind.

#include "core/macros.h"

namespace rnnfast {

struct Team {
  int size;              // threads of this call; their numbers are 0 .. size - 1
  void (*wait)(void*);   // the barrier's function and its argument
  void* barrier_object;  // null in a team of one
  void* half_barriers[2] = {};

  // The threads [0, size / 2) or [size / 2, size) of a team of even size, numbered from 0. Each
  // half has a barrier of its own.
  RNNFAST_INLINE Team half(int which) const { return {size / 2, wait, half_barriers[which]}; }

  // Returns when every thread of the team has called it; what they wrote before is then visible.
  RNNFAST_INLINE void barrier() const {
    if (size > 1) wait(barrier_object);
  }
};

}  // namespace rnnfast
