#pragma once
// Settings from the environment. A variable that is unset or empty is no setting.

#include <limits>
#include <optional>
#include <string>

namespace rnnfast {

std::optional<std::string> env_string(const char* name);

// Throws Error if the value is not a decimal integer from `lowest` to `highest`.
std::optional<long> env_integer(const char* name, long lowest,
                                long highest = std::numeric_limits<long>::max());

}  // namespace rnnfast
