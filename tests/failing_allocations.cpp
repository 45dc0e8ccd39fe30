// A library to preload, in which allocations of C++ fail, those of the standard library included.
//
// `arm` starts to count the calls of `operator new` in a process. From the call of the given number
// on, all fail until `disarm`; none do with 0.

#include <stddef.h>
#include <stdlib.h>

#include <atomic>
#include <new>

namespace {

std::atomic<bool> armed{false};
std::atomic<long> first_failure{0}, count{0}, blocks{0};

void* allocate(size_t size, size_t alignment) noexcept {
  if (armed) {
    const long call = ++count;
    if (first_failure > 0 && call >= first_failure) return nullptr;
  }
  void* data = aligned_alloc(alignment, (size + alignment) / alignment * alignment);
  if (data) ++blocks;
  return data;
}

void* allocate_or_throw(size_t size, size_t alignment) {
  void* data = allocate(size, alignment);
  if (!data) throw std::bad_alloc();
  return data;
}

constexpr size_t kAlignment = alignof(max_align_t);

}  // namespace

extern "C" {

void arm(long call) { count = 0, first_failure = call, armed = true; }

long disarm() {
  armed = false;
  return count;
}

long blocks_in_use() { return blocks; }
}

void* operator new(size_t size) { return allocate_or_throw(size, kAlignment); }
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, size_t(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, kAlignment);
}
void operator delete(void* data) noexcept {
  if (data) --blocks;
  free(data);
}
void operator delete(void* data, size_t) noexcept { operator delete(data); }
void operator delete(void* data, std::align_val_t) noexcept { operator delete(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { operator delete(data); }
