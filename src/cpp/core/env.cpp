#include "core/env.h"

#include <charconv>
#include <cstdlib>

#include "core/error.h"

namespace rnnfast {

std::optional<std::string> env_string(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::optional<Index> env_integer(const char* name, Index lowest, Index highest) {
  const std::optional<std::string> text = env_string(name);
  if (!text) return std::nullopt;
  Index value = 0;
  const char* end = text->data() + text->size();
  const auto [last, problem] = std::from_chars(text->data(), end, value);
  const bool whole = problem == std::errc() && last == end;
  const bool bounded = highest < std::numeric_limits<Index>::max();
  RNNFAST_CHECK(whole && value >= lowest && value <= highest, "environment variable ", name,
                ": expected an integer of at least ", lowest,
                bounded ? " and at most " + std::to_string(highest) : "", ", got '", *text, "'");
  return value;
}

}  // namespace rnnfast
