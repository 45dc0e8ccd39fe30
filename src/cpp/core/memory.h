#pragma once
// Memory for outputs, reserve and workspace. Fresh pages cost a training step up to half of its
// speed, so freed blocks are kept, up to a limit, and large ones are backed by huge pages.

#include <cstddef>
#include <span>

namespace rnnfast {

// A block of memory, freed into the cache. Its contents are whatever was there before; with
// RNNFAST_POISON=1 in the environment every byte is 0xff, which makes each float and double a NaN.
class Buffer {
 public:
  Buffer() = default;
  // Aligned to 64 bytes, and to 2 MiB from that size on. Throws std::bad_alloc.
  static Buffer allocate(std::size_t bytes);

  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  void* data() const { return data_; }
  std::size_t size() const { return size_; }  // the bytes asked for
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Buffer(void* data, std::size_t size) : data_(data), size_(size) {}

  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Asks the system for huge pages in those parts of fresh memory that can have them.
void ask_for_huge_pages(std::span<std::byte> memory);

struct CacheInfo {
  std::size_t limit_bytes;   // RNNFAST_CACHE_LIMIT, or 1 GiB; 0 with AddressSanitizer
  std::size_t cached_bytes;  // in free blocks that wait for their next use
  std::size_t cached_blocks;
  std::size_t used_bytes;    // in blocks that are in use
  std::size_t hits, misses;  // allocations out of the cache, and from the system
};

CacheInfo cache_info();
void empty_cache();  // gives all cached blocks back to the system

}  // namespace rnnfast
