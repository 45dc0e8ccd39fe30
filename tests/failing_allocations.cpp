// A library to preload, in which allocations of C++ fail, those of the standard library included.
//
// `arm` starts to count the calls of `operator new` in a process, or only those from a library
// whose path contains a text. From the call of the given number on, all fail until `disarm`; none
// do with 0.

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <new>

namespace {

std::atomic<bool> armed{false};
std::atomic<long> first_failure{0}, count{0}, blocks{0};
ElfW(Addr) counted_begin = 0, counted_end = 0;  // addresses of the code whose calls count

// Sets them to those of a library if its path contains the text `wanted`.
int find_library(dl_phdr_info* library, size_t, void* wanted) {
  if (!strstr(library->dlpi_name, static_cast<const char*>(wanted))) return 0;
  counted_begin = library->dlpi_addr;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const auto& part = library->dlpi_phdr[i];
    const auto end = library->dlpi_addr + part.p_vaddr + part.p_memsz;
    if (part.p_type == PT_LOAD && end > counted_end) counted_end = end;
  }
  return 1;
}

bool counts(void* caller) {
  const auto address = reinterpret_cast<ElfW(Addr)>(caller);
  return address >= counted_begin && address < counted_end;
}

void* allocate(size_t size, size_t alignment, void* caller) noexcept {
  if (armed && counts(caller)) {
    const long call = ++count;
    if (first_failure > 0 && call >= first_failure) return nullptr;
  }
  void* data = aligned_alloc(alignment, (size + alignment) / alignment * alignment);
  if (data) ++blocks;
  return data;
}

void* allocate_or_throw(size_t size, size_t alignment, void* caller) {
  void* data = allocate(size, alignment, caller);
  if (!data) throw std::bad_alloc();
  return data;
}

constexpr size_t kAlignment = alignof(max_align_t);

}  // namespace

extern "C" {

void arm(long call, char* library) {
  counted_begin = 0, counted_end = *library ? 0 : UINTPTR_MAX;
  if (*library) dl_iterate_phdr(find_library, library);
  count = 0, first_failure = call, armed = true;
}

long disarm() {
  armed = false;
  return count;
}

long blocks_in_use() { return blocks; }
}

void* operator new(size_t size) {
  return allocate_or_throw(size, kAlignment, __builtin_return_address(0));
}
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, size_t(alignment), __builtin_return_address(0));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, kAlignment, __builtin_return_address(0));
}
void operator delete(void* data) noexcept {
  if (data) --blocks;
  free(data);
}
void operator delete(void* data, size_t) noexcept { operator delete(data); }
void operator delete(void* data, std::align_val_t) noexcept { operator delete(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { operator delete(data); }
