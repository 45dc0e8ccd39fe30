#pragma once
// How much data the kernels work on at a time, so that it stays in the caches of this machine. The
// results do not depend on it. Kernel files include this: no standard headers.

#include "core/index.h"

namespace rnnfast {

struct Blocking {
  Index cache_bytes;      // the L2 cache of a core
  Index forward_rows;     // rows of gates that one input product computes, or a step's if more
  Index strip_rows;       // rows of a transposed product, per panel of weights
  Index gradient_values;  // values of an operand that a weight gradient multiplies with all tiles
};

// Blocking for the CPU of this machine, or for RNNFAST_L2_BYTES. Throws Error if that is set to
// anything but a number.
const Blocking& blocking();

}  // namespace rnnfast
