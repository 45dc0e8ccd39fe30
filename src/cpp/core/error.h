#pragma once
// The library's one way to fail: an exception with a message. Nothing here prints or aborts.
//   RNNFAST_CHECK(n >= 1, "set_num_threads: expected n >= 1, got ", n);

#include <sstream>
#include <stdexcept>
#include <string>

namespace rnnfast {

class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws the parts, printed one after the other: a message for users, who do not read C++.
template <class... Parts>
[[noreturn]] void throw_error(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(message.str());
}

}  // namespace rnnfast

#define RNNFAST_CHECK(condition, ...)      \
  do {                                     \
    if (!(condition)) [[unlikely]]         \
      ::rnnfast::throw_error(__VA_ARGS__); \
  } while (false)
