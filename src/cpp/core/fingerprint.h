#pragma once
// Whether an array was changed in between, told from some of its cache lines.

#include <cstddef>
#include <cstdint>

namespace rnnfast {

// A number that depends on the bytes of 1 to 16 cache lines of `data`, or of one in 32, where that
// is more; on all where RNNFAST_CHECK_INPUTS=1 is set, which costs a few percent of a call. The
// lines lie at even distances, the first and last among them. 0 for null.
std::uint64_t fingerprint(const void* data, std::size_t bytes);

}  // namespace rnnfast
