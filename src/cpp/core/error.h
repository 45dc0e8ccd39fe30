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

// Throws the parts, printed one after the other, and the condition that did not hold.
template <class... Parts>
[[noreturn]] void throw_error(const char* condition, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  message << " [" << condition << "]";
  throw Error(message.str());
}

}  // namespace rnnfast

#define RNNFAST_CHECK(condition, ...)                  \
  do {                                                 \
    if (!(condition)) [[unlikely]]                     \
      ::rnnfast::throw_error(#condition, __VA_ARGS__); \
  } while (false)
