#pragma once
// All that the operating system is asked for beyond the C++ library and OpenMP. Where it has no
// answer, these functions do nothing or return what says so.

#include <cstddef>
#include <span>

#include "core/index.h"

namespace rnnfast {

// The CPU that the calling thread runs on; -1 if the system does not tell.
int current_cpu();

// Moves the calling thread to another of its CPUs if it runs on this one.
void leave_cpu(int cpu);

// Calls `before` in a process that forks, and then one function in it and one in its child. Null
// for nothing.
void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)());

// Advice to back memory by large pages of so many bytes, from the first one that fits into it.
void advise_large_pages(std::span<std::byte> memory, std::size_t page);

// Bytes of the first CPU's L2 cache; 0 if the system does not tell.
Index l2_cache_bytes();

}  // namespace rnnfast
