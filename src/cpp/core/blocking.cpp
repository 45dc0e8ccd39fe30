#include "core/blocking.h"

#include <algorithm>

#include "core/env.h"
#include "core/system.h"

namespace rnnfast {
namespace {

constexpr Index kKib = 1024;

}  // namespace

const Blocking& blocking() {
  static const Blocking chosen = [] {
    const Index known = env_integer("RNNFAST_L2_BYTES", 1).value_or(l2_cache_bytes());
    const Index bytes = std::clamp(known ? known : 1024 * kKib, 256 * kKib, 2048 * kKib);
    return Blocking{.cache_bytes = bytes,
                    .forward_rows = bytes < 1024 * kKib ? 96 : 192,
                    .strip_rows = std::clamp<Index>(bytes / (16 * kKib), 32, 96),
                    .gradient_values = bytes / 16};
  }();
  return chosen;
}

}  // namespace rnnfast
