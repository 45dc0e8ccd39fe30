#include "core/blocking.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "core/env.h"

namespace rnnfast {
namespace {

constexpr long kKib = 1024;

// Bytes of the first CPU's L2 cache; 0 if the system does not know.
long l2_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  if (const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE); bytes > 0) return bytes;
#endif
  long kib = 0;
  std::ifstream("/sys/devices/system/cpu/cpu0/cache/index2/size") >> kib;
  return kib * kKib;
}

}  // namespace

const Blocking& blocking() {
  static const Blocking chosen = [] {
    const long known = env_integer("RNNFAST_L2_BYTES", 1).value_or(l2_bytes());
    const long bytes = std::clamp(known ? known : 1024 * kKib, 256 * kKib, 2048 * kKib);
    return Blocking{.cache_bytes = bytes,
                    .forward_rows = bytes < 1024 * kKib ? 96 : 192,
                    .strip_rows = std::clamp(bytes / (16 * kKib), 32L, 96L),
                    .gradient_values = bytes / 16};
  }();
  return chosen;
}

}  // namespace rnnfast
