#pragma once
// Settings from the environment. A variable that is unset or empty is no setting.

#include <optional>
#include <string>

namespace rnnfast {

std::optional<std::string> env_string(const char* name);

// Throws Error if the value is not a decimal integer of at least `lowest`.
std::optional<long> env_integer(const char* name, long lowest);

}  // namespace rnnfast
