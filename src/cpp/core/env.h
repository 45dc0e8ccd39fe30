#pragma once
// Settings from the environment. A variable that is unset or empty is no setting.

#include <limits>
#include <optional>
#include <string>

#include "core/index.h"

namespace rnnfast {

std::optional<std::string> env_string(const char* name);

// Throws Error if the value is not a decimal integer from `lowest` to `highest`.
std::optional<Index> env_integer(const char* name, Index lowest,
                                 Index highest = std::numeric_limits<Index>::max());

}  // namespace rnnfast
