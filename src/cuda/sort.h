#pragma once
// Sorts 64-bit keys on the device. The keys must be distinct, so the result is unique.

#include <cstdint>

#include "core/index.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

inline constexpr int kSortBlock = 512;  // keys that a block sorts in shared memory

// Sorts in ascending order, in place. `count` is a power of two and at least kSortBlock.
void sort(std::uint64_t* keys, Index count, cudaStream_t stream);

}  // namespace rnnfast::cuda
