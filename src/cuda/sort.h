#pragma once
// A sort of 64-bit keys on the device, for keys that differ from each other: there is one result.

#include <cstdint>

#include "cuda/stream.h"

namespace rnnfast::cuda {

inline constexpr int kSortBlock = 512;  // keys that a block sorts in shared memory

// Ascending, in place. `count` is a power of two and at least kSortBlock.
void sort(std::uint64_t* keys, long count, cudaStream_t stream);

}  // namespace rnnfast::cuda
