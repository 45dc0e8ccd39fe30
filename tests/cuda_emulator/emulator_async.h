#pragma once
// Shared memory, and what moves data on its own: copies from global to shared memory, and on sm_90
// stores into other blocks of the cluster, counted by mbarriers. Both arrive as late or as early as
// the device may.

#include "emulator_barrier.h"

namespace emulator {

// ---- shared memory

inline unsigned char* dynamic_shared() { return current->block->shared; }

EMULATOR_UNTRACED inline void* allocate_shared(size_t bytes) {
  const Unrecorded guard;
  void* memory = nullptr;
  if (posix_memalign(&memory, 1024, bytes ? bytes : 1)) std::abort();
  std::memset(memory, 0xff, bytes);  // what nobody wrote is a NaN
  return memory;
}

EMULATOR_UNTRACED inline void* static_shared_of(Block& block, const void* key, size_t bytes) {
  for (int i = 0; i < block.static_count; ++i)
    if (block.statics[i].key == key) return block.statics[i].memory;
  if (block.static_count == kStaticShared)
    fail("more than %d static shared variables", kStaticShared);
  block.static_bytes += bytes;
  if (block.static_bytes > 48 * KiB)
    fail("%zu bytes of static shared memory, at most 48 KiB", block.static_bytes);
  Shape shape = *wave->shape;
  shape.shared_bytes += block.static_bytes;
  if (const std::string text = refusal(shape); !text.empty())
    fail("with %zu bytes of static shared memory: %s", block.static_bytes, text.c_str());
  void* memory = allocate_shared(bytes);
  block.statics[block.static_count++] = {key, memory, bytes};
  return memory;
}

// The block's own variable for that key.
EMULATOR_UNTRACED inline void* static_shared(const void* key, size_t bytes) {
  return static_shared_of(*current->block, key, bytes);
}

struct SharedPlace {
  const StaticShared* variable;  // null: in the dynamic shared memory
  size_t offset;
};

EMULATOR_UNTRACED inline bool find_shared(const Block& block, const void* pointer, size_t bytes,
                                          SharedPlace& place) {
  const auto at = reinterpret_cast<uintptr_t>(pointer);
  const auto inside = [&](const void* memory, size_t size) {
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    place.offset = at - begin;
    return at >= begin && at + bytes <= begin + size;
  };
  place.variable = nullptr;
  if (inside(block.shared, block.shared_bytes)) return true;
  for (int i = 0; i < block.static_count; ++i) {
    place.variable = &block.statics[i];
    if (inside(place.variable->memory, place.variable->bytes)) return true;
  }
  return false;
}

EMULATOR_UNTRACED inline void check_shared(const char* what, const void* pointer, size_t bytes,
                                           Site site) {
  SharedPlace place;
  if (!find_shared(*current->block, pointer, bytes, place))
    fail("%s: address outside of the block's shared memory at %s:%u", what, site.file_name(),
         site.line());
  if (reinterpret_cast<uintptr_t>(pointer) % bytes)
    fail("%s: address is no multiple of %zu bytes at %s:%u", what, bytes, site.file_name(),
         site.line());
}

EMULATOR_UNTRACED inline Block& block_of_cluster(unsigned rank, Site site) {
  const Block& block = *current->block;
  if (rank >= wave->cluster_size)
    fail("block %u of a cluster of %u at %s:%u", rank, wave->cluster_size, site.file_name(),
         site.line());
  Block& other = wave->block[block.number - block.rank + rank];
  if (!other.alive)
    fail("access to the shared memory of block (%u, %u, %u), which has exited, at %s:%u",
         other.index.x, other.index.y, other.index.z, site.file_name(), site.line());
  return other;
}

// The same place in the shared memory of another block of the cluster.
EMULATOR_UNTRACED inline void* map_rank(const void* pointer, unsigned rank,
                                        Site site = Site::current()) {
  Block& other = block_of_cluster(rank, site);
  SharedPlace place;
  if (!find_shared(*current->block, pointer, 1, place))
    fail("map to a block of the cluster: address outside of the block's shared memory at %s:%u",
         site.file_name(), site.line());
  if (!place.variable) return other.shared + place.offset;
  return static_cast<char*>(static_shared_of(other, place.variable->key, place.variable->bytes)) +
         place.offset;
}

// ---- cp.async

inline void copy_words(void* target, const void* source, int bytes) {
  for (int i = 0; i < bytes / 4; ++i)
    static_cast<uint32_t*>(target)[i] = static_cast<const uint32_t*>(source)[i];
}

EMULATOR_UNTRACED inline void note_copy(void* target, const void* source, int bytes, Site site) {
  check_shared("asynchronous copy: target", target, bytes, site);
  if (reinterpret_cast<uintptr_t>(source) % bytes)
    fail("asynchronous copy: source is no multiple of %d bytes at %s:%u", bytes, site.file_name(),
         site.line());
  Fiber& fiber = *current;
  fiber.site = site;
  ++statistics.async_copies;
  if (device.capability < 80) return;
  if (fiber.copy_count == fiber.copy_capacity) {
    const Unrecorded guard;
    fiber.copy_capacity = 2 * fiber.copy_capacity + 8;
    fiber.copies =
        static_cast<Copy*>(std::realloc(fiber.copies, fiber.copy_capacity * sizeof(Copy)));
  }
  fiber.copies[fiber.copy_count++] = {target, source, bytes, fiber.copy_group, site};
}

// A copy may land at once, over what others still read, or only when it is waited for.
EMULATOR_UNTRACED inline bool lands_at_once() {
  return device.capability < 80 || policy == Policy::kReversed ||
         (policy == Policy::kRandom && random_below(2) == 0);
}

// Not untraced, like all that moves the kernel's data: sanitizers then name the kernel's line.
inline void copy_async(void* target, const void* source, int bytes, Site site = Site::current()) {
  note_copy(target, source, bytes, site);
  record_copy(target, source, bytes);
  if (lands_at_once()) copy_words(target, source, bytes);
}

inline void copy_commit() { ++current->copy_group; }

// Waits for all groups but the last `keep`.
inline void copy_wait(int keep) {
  Fiber& fiber = *current;
  int kept = 0;
  for (int i = 0; i < fiber.copy_count; ++i) {
    const Copy copy = fiber.copies[i];
    if (copy.group < fiber.copy_group - keep)
      copy_words(copy.target, copy.source, copy.bytes);
    else
      fiber.copies[kept++] = copy;
  }
  fiber.copy_count = kept;
}

// ---- mbarriers

// In 8 bytes of shared memory. A phase ends when no arrival and no byte is outstanding.
struct Mbarrier {
  int16_t expected, pending;  // arrivals
  int32_t bytes : 31;         // may be negative for a while: stores can overtake the expectation
  uint32_t phase : 1;
};
static_assert(sizeof(Mbarrier) == 8);

EMULATOR_UNTRACED inline Mbarrier& mbarrier_at(void* pointer, Site site) {
  auto& barrier = *static_cast<Mbarrier*>(pointer);
  if (barrier.expected <= 0)
    fail("mbarrier was not initialised, at %s:%u", site.file_name(), site.line());
  return barrier;
}

EMULATOR_UNTRACED inline void* order_of(Mbarrier& barrier, unsigned phase) {
  return reinterpret_cast<char*>(&barrier) + phase;
}

// Ends the phase if nothing is outstanding.
EMULATOR_UNTRACED inline void mbarrier_changed(Block& owner, Mbarrier& barrier, Site site) {
  made_progress();
  if (barrier.pending == 0 && barrier.bytes < 0)
    fail("mbarrier: %d bytes more than it expects, with %s:%u", -barrier.bytes, site.file_name(),
         site.line());
  if (barrier.pending || barrier.bytes) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.expected;
  Fiber** link = &owner.mbarrier_waiting;
  while (Fiber* fiber = *link) {
    if (fiber->waits == &barrier) {
      *link = fiber->next;
      make_ready(*fiber);
    } else {
      link = &fiber->next;
    }
  }
}

EMULATOR_UNTRACED inline void arrive_at(Block& owner, Mbarrier& barrier, int bytes, Site site) {
  if (barrier.pending == 0)
    fail("mbarrier: more arrivals than its count of %d at %s:%u", barrier.expected,
         site.file_name(), site.line());
  release(order_of(barrier, barrier.phase));
  barrier.bytes += bytes;
  --barrier.pending;
  mbarrier_changed(owner, barrier, site);
}

EMULATOR_UNTRACED inline void mbarrier_init(uint64_t* pointer, int count,
                                            Site site = Site::current()) {
  check_shared("mbarrier", pointer, 8, site);
  if (device.capability < 90)
    fail("mbarrier with bytes needs sm_90, at %s:%u", site.file_name(), site.line());
  if (count < 1 || count > 0x7fff)
    fail("mbarrier: count of %d at %s:%u", count, site.file_name(), site.line());
  *reinterpret_cast<Mbarrier*>(pointer) = {static_cast<int16_t>(count), static_cast<int16_t>(count),
                                           0, 0};
}

// One arrival, which also announces that many bytes.
EMULATOR_UNTRACED inline void mbarrier_arrive(uint64_t* pointer, int bytes = 0,
                                              Site site = Site::current()) {
  check_shared("mbarrier", pointer, 8, site);
  arrive_at(*current->block, mbarrier_at(pointer, site), bytes, site);
}

EMULATOR_UNTRACED inline void mbarrier_arrive_remote(uint64_t* local, unsigned rank,
                                                     Site site = Site::current()) {
  check_shared("mbarrier", local, 8, site);
  void* remote = map_rank(local, rank, site);
  arrive_at(block_of_cluster(rank, site), mbarrier_at(remote, site), 0, site);
}

// Whether the phase of that parity has ended.
EMULATOR_UNTRACED inline bool mbarrier_test(uint64_t* pointer, int parity,
                                            Site site = Site::current()) {
  check_shared("mbarrier", pointer, 8, site);
  Mbarrier& barrier = mbarrier_at(pointer, site);
  if (static_cast<int>(barrier.phase) == parity) return false;
  acquire(order_of(barrier, parity));
  return true;
}

EMULATOR_UNTRACED inline void mbarrier_wait(uint64_t* pointer, int parity,
                                            Site site = Site::current()) {
  while (!mbarrier_test(pointer, parity, site)) {
    Block& block = *current->block;
    current->site = site;
    current->waits = pointer;
    current->next = block.mbarrier_waiting;
    block.mbarrier_waiting = current;
    run_next();
  }
}

// ---- st.async

struct Store {
  Block* block;
  void* target;
  Mbarrier* barrier;
  uint32_t words[4];
  int bytes;
  Site site;
};

EMULATOR_UNTRACED inline void store_arrived(const Store& store) {
  ++statistics.async_stores;
  release(order_of(*store.barrier, store.barrier->phase));
  store.barrier->bytes -= store.bytes;
  mbarrier_changed(*store.block, *store.barrier, store.site);
}

EMULATOR_UNTRACED inline void deliver_store(int which) {
  const Store store = wave->stores[which];
  wave->stores[which] = wave->stores[--wave->store_count];
  std::memcpy(store.target, store.words, store.bytes);
  store_arrived(store);
}

EMULATOR_UNTRACED inline void send_store(const Store& store) {
  if (wave->store_count == wave->store_capacity) {
    const Unrecorded guard;
    wave->store_capacity = 2 * wave->store_capacity + 64;
    wave->stores =
        static_cast<Store*>(std::realloc(wave->stores, wave->store_capacity * sizeof(Store)));
  }
  wave->stores[wave->store_count++] = store;
}

// Stores 4, 8 or 16 bytes in another block's shared memory and takes them off the bytes that the
// mbarrier there expects. Under ThreadSanitizer it happens at once, in the name of the thread that
// stores.
inline void store_async(void* local, uint64_t* local_barrier, unsigned rank, const void* value,
                        int bytes, Site site = Site::current()) {
  check_shared("asynchronous store: target", local, bytes, site);
  check_shared("asynchronous store: mbarrier", local_barrier, 8, site);
  Store store{&block_of_cluster(rank, site), map_rank(local, rank, site), nullptr, {}, bytes, site};
  store.barrier = &mbarrier_at(map_rank(local_barrier, rank, site), site);
  if constexpr (kThreadSanitizer) {
    copy_words(store.target, value, bytes);
    store_arrived(store);
  } else {
    std::memcpy(store.words, value, bytes);
    send_store(store);
  }
}

// A block that exits must not have stores on their way to it.
EMULATOR_UNTRACED inline void check_no_stores_to(const Block& block) {
  for (int i = 0; i < wave->store_count; ++i)
    if (wave->stores[i].block == &block)
      fail(
          "block exits while an asynchronous store into its shared memory is in flight, from %s:%u",
          wave->stores[i].site.file_name(), wave->stores[i].site.line());
}

}  // namespace emulator
