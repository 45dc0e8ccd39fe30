#include "core/memory.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "core/env.h"
#include "core/index.h"
#include "core/system.h"

#if defined(__SANITIZE_ADDRESS__)
#define RNNFAST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RNNFAST_ASAN 1
#endif
#endif

namespace rnnfast {
namespace {

#if defined(RNNFAST_ASAN)
constexpr bool kBypass = true;  // each block at its exact size straight to the checking allocator
#else
constexpr bool kBypass = false;
#endif

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMaxBlocks = 256;  // a search stays short

struct Block {
  void* data;
  std::size_t size;
};

// Sizes are rounded up to eight steps between powers of two (at most 12.5% more), so that calls of
// slightly different sizes share blocks.
std::size_t size_class(std::size_t bytes) {
  if (kBypass) return std::max<std::size_t>(bytes, 1);
  const std::size_t n = std::max(bytes, kLine);
  const std::size_t step = std::max(std::bit_floor(n) / 8, kLine);
  return (n + step - 1) / step * step;
}

std::align_val_t alignment(std::size_t size) {
  return std::align_val_t{size >= kHugePage ? kHugePage : kLine};
}

void* system_allocate(std::size_t size) {
  void* data = ::operator new(size, alignment(size));
  ask_for_huge_pages({static_cast<std::byte*>(data), size});
  return data;
}

void system_free(Block block) { ::operator delete(block.data, alignment(block.size)); }

class Cache {
 public:
  // A process may fork while another thread holds the lock; the child must find it free.
  Cache() {
    const Index limit = env_integer("RNNFAST_CACHE_LIMIT", 0).value_or(1 << 30);
    limit_ = kBypass ? 0 : static_cast<std::size_t>(limit);
    poison_ = env_integer("RNNFAST_POISON", 0).value_or(0) != 0;
    free_.reserve(kMaxBlocks + 1);
    at_fork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
            [] { get().mutex_.unlock(); });
  }

  // Never destroyed: arrays may be freed while the process ends.
  static Cache& get() {
    static Cache& cache = *new Cache;
    return cache;
  }

  void* allocate(std::size_t bytes) {
    const std::size_t size = size_class(bytes);
    void* data = take(size);
    if (data == nullptr) data = allocate_new(size);
    if (poison_) std::memset(data, 0xff, bytes);
    return data;
  }

  // Keeps the newest blocks: the oldest leave when the limit is passed.
  void free(Block block) noexcept {
    const std::lock_guard lock(mutex_);
    used_ -= block.size;
    free_.push_back(block);
    cached_ += block.size;
    while (!free_.empty() && (cached_ > limit_ || free_.size() > kMaxBlocks)) {
      drop_oldest();
    }
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    while (!free_.empty()) drop_oldest();
  }

  CacheInfo info() {
    const std::lock_guard lock(mutex_);
    return {limit_, cached_, free_.size(), used_, hits_, misses_};
  }

 private:
  // The block that was freed last is the likeliest to be in the CPU's caches.
  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(free_.rbegin(), free_.rend(),
                                    [size](const Block& block) { return block.size == size; });
    if (found == free_.rend()) return nullptr;
    void* data = found->data;
    free_.erase(std::next(found).base());
    cached_ -= size;
    used_ += size;
    ++hits_;
    return data;
  }

  void* allocate_new(std::size_t size) {
    void* data;
    try {
      data = system_allocate(size);
    } catch (const std::bad_alloc&) {
      clear();  // the cache itself may be what fills the memory
      data = system_allocate(size);
    }
    const std::lock_guard lock(mutex_);
    used_ += size;
    ++misses_;
    return data;
  }

  void drop_oldest() {
    const Block block = free_.front();
    free_.erase(free_.begin());
    cached_ -= block.size;
    system_free(block);
  }

  std::mutex mutex_;
  std::vector<Block> free_;  // oldest first
  std::size_t limit_, cached_ = 0, used_ = 0, hits_ = 0, misses_ = 0;
  bool poison_;
};

}  // namespace

Buffer Buffer::allocate(std::size_t bytes) { return {Cache::get().allocate(bytes), bytes}; }

void ask_for_huge_pages(std::span<std::byte> memory) { advise_large_pages(memory, kHugePage); }

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) Cache::get().free({data_, size_class(size_)});
}

CacheInfo cache_info() { return Cache::get().info(); }

void empty_cache() { Cache::get().clear(); }

}  // namespace rnnfast
