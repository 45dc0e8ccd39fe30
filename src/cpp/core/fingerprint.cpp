#include "core/fingerprint.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/env.h"

namespace rnnfast {
namespace {

constexpr std::size_t kLine = 64, kWords = kLine / sizeof(std::uint64_t);
constexpr std::size_t kFewLines = 16, kOneIn = 32;

// Four sums, which do not wait for each other. The order of the words counts.
struct Sums {
  std::uint64_t of[4] = {1, 2, 3, 4};

  void add(const unsigned char* line) {
    std::uint64_t words[kWords];
    std::memcpy(words, line, kLine);
    for (std::size_t i = 0; i < kWords; ++i) of[i % 4] = std::rotl(of[i % 4], 13) + words[i];
  }
};

}  // namespace

std::uint64_t fingerprint(const void* data, std::size_t bytes) {
  static const bool all = env_integer("RNNFAST_CHECK_INPUTS", 0).value_or(0) != 0;
  if (!data || bytes == 0) return 0;
  const auto* from = static_cast<const unsigned char*>(data);
  const std::size_t lines = bytes / kLine;
  const std::size_t count = all ? lines : std::min(lines, std::max(kFewLines, lines / kOneIn));
  Sums sums;
  const std::size_t step = count > 1 ? (lines - 1) / (count - 1) : 1;
  for (std::size_t i = 0; i < count; ++i) sums.add(from + i * step * kLine);
  unsigned char last[kLine] = {};  // the last bytes, also of less than a line
  const std::size_t size = std::min(bytes, kLine);
  std::memcpy(last, from + bytes - size, size);
  sums.add(last);
  std::uint64_t result = 0;
  for (const std::uint64_t sum : sums.of) result = result * 0x9e3779b97f4a7c15 + sum;
  return result;
}

}  // namespace rnnfast
