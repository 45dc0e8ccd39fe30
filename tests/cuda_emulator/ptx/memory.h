#pragma once
// Memory: addresses of every space, loads and stores, plain and ordered, and atomic operations.
//
// Global, constant, local and parameter addresses are the host's. Shared ones are offsets in the
// block's shared memory, 24 bits; above them a remote one has the rank of its block plus 1.

#include "emulator_async.h"
#include "ptx/halves.h"
#include "ptx/integers.h"

namespace emulator::ptx {

constexpr int relaxed = __ATOMIC_RELAXED, acquire = __ATOMIC_ACQUIRE, release = __ATOMIC_RELEASE,
              acq_rel = __ATOMIC_ACQ_REL;

inline unsigned char* pointer(b64 address) { return reinterpret_cast<unsigned char*>(address); }
inline b64 address_of(const void* memory) { return reinterpret_cast<b64>(memory); }

// ---- shared memory

constexpr int kRankShift = 24;

[[noreturn]] inline void outside_shared(const Block& block, b32 address, int bytes, Site site) {
  fail("access to bytes %u ... %u of %zu bytes of shared memory at %s:%u", address,
       address + bytes - 1, block.shared_bytes, site.file_name(), site.line());
}
inline unsigned char* shared_of(const Block& block, b32 address, int bytes, Site site) {
  if (size_t{address} + bytes > block.shared_bytes) outside_shared(block, address, bytes, site);
  return block.shared + address;
}
inline unsigned char* shared(b32 address, int bytes, Site site = Site::current()) {
  return shared_of(*current->block, address, bytes, site);
}

inline u32 rank_of(b32 address) {
  const b32 rank = address >> kRankShift;
  return rank ? rank - 1 : current->block->rank;
}
inline b32 local_address(b32 address) { return address & ((1u << kRankShift) - 1); }
inline unsigned char* cluster_shared(b32 address, int bytes, Site site = Site::current()) {
  return shared_of(block_of_cluster(rank_of(address), site), local_address(address), bytes, site);
}
inline b32 map_address(b32 address, u32 rank, Site site = Site::current()) {
  block_of_cluster(rank, site);
  return local_address(address) | (rank + 1) << kRankShift;
}
inline b64 map_generic(b64 address, u32 rank, Site site = Site::current()) {
  return address_of(map_rank(pointer(address), rank, site));
}

// Generic addresses of shared memory are the host's.
inline b64 from_shared(b64 offset) { return address_of(current->block->shared) + offset; }
inline b64 to_shared(b64 address) { return address - address_of(current->block->shared); }
inline bool is_shared(b64 address) { return to_shared(address) < current->block->shared_bytes; }

// ---- loads and stores

[[noreturn]] inline void wrong_address(const void* address, size_t bytes, Site site) {
  fail("access of %zu bytes at %p, %s, at %s:%u", bytes, address,
       address_of(address) < 4096 ? "which is no memory" : "which is no multiple of that",
       site.file_name(), site.line());
}
inline void check_address(const void* address, size_t bytes, Site site) {
  if (address_of(address) % bytes || address_of(address) < 4096)
    wrong_address(address, bytes, site);
}

template <class T>
using Aliased [[gnu::may_alias]] = T;

template <class T>
inline T load(const void* address, Site site = Site::current()) {
  check_address(address, sizeof(T), site);
  return *static_cast<const Aliased<T>*>(address);
}
template <class T, int N>
inline Vector<T, N> load(const void* address, Site site = Site::current()) {
  check_address(address, sizeof(T) * N, site);
  Vector<T, N> values;
  for (int i = 0; i < N; ++i) values[i] = static_cast<const Aliased<T>*>(address)[i];
  return values;
}
template <class T>
inline void store(void* address, T value, Site site = Site::current()) {
  check_address(address, sizeof(T), site);
  *static_cast<Aliased<T>*>(address) = value;
}
template <class T, size_t N>
inline void store(void* address, std::array<T, N> values, Site site = Site::current()) {
  check_address(address, sizeof(T) * N, site);
  for (size_t i = 0; i < N; ++i) static_cast<Aliased<T>*>(address)[i] = values[i];
}

// Ordered accesses: the elements of a vector one by one.
template <int order, class T, int N>
inline Vector<T, N> load_ordered(const void* address, Site site) {
  check_address(address, sizeof(T) * N, site);
  poll(address, site);
  Vector<T, N> values;
  for (int i = 0; i < N; ++i)
    values[i] = std::bit_cast<T>(
        __atomic_load_n(static_cast<const Aliased<Bits<sizeof(T)>>*>(address) + i, order));
  return values;
}
template <class T>
inline T load_relaxed(const void* address, Site site = Site::current()) {
  return load_ordered<relaxed, T, 1>(address, site)[0];
}
template <class T, int N>
inline Vector<T, N> load_relaxed(const void* address, Site site = Site::current()) {
  return load_ordered<relaxed, T, N>(address, site);
}
template <class T>
inline T load_acquire(const void* address, Site site = Site::current()) {
  return load_ordered<acquire, T, 1>(address, site)[0];
}
template <class T, int N>
inline Vector<T, N> load_acquire(const void* address, Site site = Site::current()) {
  return load_ordered<acquire, T, N>(address, site);
}

template <int order, class T, size_t N>
inline void store_ordered(void* address, std::array<T, N> values, Site site) {
  check_address(address, sizeof(T) * N, site);
  for (size_t i = 0; i < N; ++i)
    __atomic_store_n(static_cast<Aliased<Bits<sizeof(T)>>*>(address) + i,
                     std::bit_cast<Bits<sizeof(T)>>(values[i]), order);
  stored();
}
template <class T>
inline void store_relaxed(void* address, T value, Site site = Site::current()) {
  store_ordered<relaxed>(address, std::array<T, 1>{value}, site);
}
template <class T, size_t N>
inline void store_relaxed(void* address, std::array<T, N> values, Site site = Site::current()) {
  store_ordered<relaxed>(address, values, site);
}
template <class T>
inline void store_release(void* address, T value, Site site = Site::current()) {
  store_ordered<release>(address, std::array<T, 1>{value}, site);
}
template <class T, size_t N>
inline void store_release(void* address, std::array<T, N> values, Site site = Site::current()) {
  store_ordered<release>(address, values, site);
}

// Global variables get their values when the library is loaded.
template <class T>
inline bool initialise(void* memory, std::initializer_list<T> values) {
  std::memcpy(memory, values.begin(), values.size() * sizeof(T));
  return true;
}

// ---- atomic operations

// Puts function(old) in the place of the old value, and returns that. One that changes nothing may
// be a turn of a polling loop.
template <int order, class T, class F>
inline T atomic(void* address, F function, Site site) {
  check_address(address, sizeof(T), site);
  poll(address, site);
  using Word = Bits<sizeof(T)>;
  auto* word = static_cast<Aliased<Word>*>(address);
  Word old = __atomic_load_n(word, relaxed), wanted;
  do {
    wanted = std::bit_cast<Word>(function(std::bit_cast<T>(old)));
  } while (!__atomic_compare_exchange_n(word, &old, wanted, false, order,
                                        order == acquire || order == acq_rel ? acquire : relaxed));
  if (wanted != old) made_progress();
  return std::bit_cast<T>(old);
}

#define EMULATOR_PTX_ATOMIC(name, expression)                                       \
  template <int order, class T>                                                     \
  inline T atomic_##name(void* address, T b, Site site = Site::current()) {         \
    return atomic<order, T>(address, [b](T old) -> T { return expression; }, site); \
  }
EMULATOR_PTX_ATOMIC(add, add(old, b))
EMULATOR_PTX_ATOMIC(and, old& b)
EMULATOR_PTX_ATOMIC(or, old | b)
EMULATOR_PTX_ATOMIC(xor, old ^ b)
EMULATOR_PTX_ATOMIC(exch, (ignore(old), b))
EMULATOR_PTX_ATOMIC(min, min(old, b))
EMULATOR_PTX_ATOMIC(max, max(old, b))
EMULATOR_PTX_ATOMIC(inc, old >= b ? 0 : old + 1)
EMULATOR_PTX_ATOMIC(dec, old == 0 || old > b ? b : old - 1)
#undef EMULATOR_PTX_ATOMIC

template <int order, class T>
inline T atomic_cas(void* address, T expected, T wanted, Site site = Site::current()) {
  return atomic<order, T>(address, [=](T old) { return old == expected ? wanted : old; }, site);
}

}  // namespace emulator::ptx
