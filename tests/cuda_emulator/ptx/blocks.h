#pragma once
// Barriers of blocks and clusters, mbarriers, and copies and stores that go on by themselves.

#include "ptx/memory.h"

namespace emulator::ptx {

// membar and fence order nothing here, on purpose: only releases and acquires of the accesses
// themselves do.
inline void fence() {}

inline u64 clock() {
  static u64 ticks = 0;
  return ++ticks;
}

[[noreturn]] inline void trap(Site site = Site::current()) {
  fail("trap at %s:%u", site.file_name(), site.line());
}
[[noreturn]] inline void wrong_branch(Site site = Site::current()) {
  fail("brx.idx: index outside of its table at %s:%u", site.file_name(), site.line());
}

// ---- the sixteen barriers of a block

EMULATOR_UNTRACED inline u32 threads_of_block() { return wave->threads; }

// The barrier of that number for `threads` threads. Number 0 for the whole block is __syncthreads,
// which does not wait for threads that have exited.
EMULATOR_UNTRACED inline Barrier& barrier_at(u32 number, u32 threads, Site site) {
  Block& block = *current->block;
  if (number >= kBarriers)
    fail("barrier %u of %d at %s:%u", number, kBarriers, site.file_name(), site.line());
  if (threads == 0 || threads % 32 || threads > (threads_of_block() + 31) / 32 * 32)
    if (threads != threads_of_block())
      fail("barrier %u for %u threads of %u at %s:%u", number, threads, threads_of_block(),
           site.file_name(), site.line());
  if (number == 0 && threads >= threads_of_block()) return block.barrier;
  Barrier& barrier = block.named[number].barrier;
  if (barrier.arrived && barrier.expected != threads)
    fail("barrier %u for %u threads while others wait for %u at %s:%u", number, threads,
         barrier.expected, site.file_name(), site.line());
  barrier.expected = threads;
  barrier.site = site;  // its threads may come from different places
  return barrier;
}

inline void barrier_sync(u32 number, u32 threads, Site site = Site::current()) {
  Barrier& barrier = barrier_at(number, threads, site);
  wait(barrier, arrive(barrier, site));
}
inline void barrier_sync(u32 number, Site site = Site::current()) {
  barrier_sync(number, threads_of_block(), site);
}
inline void barrier_arrive(u32 number, u32 threads, Site site = Site::current()) {
  arrive(barrier_at(number, threads, site), site);
}

// How many threads of the block have a true predicate. Phases count in turn in two places: nobody
// is two phases ahead.
EMULATOR_UNTRACED inline u32 barrier_count(u32 number, pred a, Site site = Site::current()) {
  Barrier& barrier = barrier_at(number, threads_of_block(), site);
  u32& count = current->block->named[number].votes[barrier.phase % 2];
  if (!barrier.arrived) count = 0;
  count += a;
  wait(barrier, arrive(barrier, site));
  return count;
}
inline pred barrier_or(u32 number, pred a, Site site = Site::current()) {
  return barrier_count(number, a, site) != 0;
}
inline pred barrier_and(u32 number, pred a, Site site = Site::current()) {
  return barrier_count(number, !a, site) == 0;
}

// ---- clusters

inline u32 cluster_rank() { return current->block->rank; }
EMULATOR_UNTRACED inline u32 cluster_size() { return wave->cluster_size; }

// ---- mbarriers. The state that an arrival returns is the parity of its phase.

inline b64 mbarrier_arrive(void* address, u32 bytes, Site site = Site::current()) {
  auto* barrier = static_cast<uint64_t*>(address);
  const b64 parity = mbarrier_at(barrier, site).phase;
  emulator::mbarrier_arrive(barrier, static_cast<int>(bytes), site);
  return parity;
}
inline void mbarrier_arrive_remote(b32 address, Site site = Site::current()) {
  auto* local = reinterpret_cast<uint64_t*>(shared(local_address(address), 8, site));
  emulator::mbarrier_arrive_remote(local, rank_of(address), site);
}
EMULATOR_UNTRACED inline void mbarrier_expect(void* address, u32 bytes,
                                              Site site = Site::current()) {
  mbarrier_at(address, site).bytes += bytes;
}
inline void mbarrier_init(void* address, u32 count, Site site = Site::current()) {
  emulator::mbarrier_init(static_cast<uint64_t*>(address), static_cast<int>(count), site);
}
EMULATOR_UNTRACED inline void mbarrier_invalidate(void* address, Site site = Site::current()) {
  mbarrier_at(address, site);
  std::memset(address, 0xff, 8);
}
inline pred mbarrier_test_wait(void* address, b32 parity, Site site = Site::current()) {
  poll(address, site);
  return mbarrier_test(static_cast<uint64_t*>(address), parity & 1, site);
}
// May give up before the phase ends: code must loop.
inline pred mbarrier_try_wait(void* address, b32 parity, Site site = Site::current()) {
  if (random_below(4) == 0) return mbarrier_test_wait(address, parity, site);
  mbarrier_wait(static_cast<uint64_t*>(address), parity & 1, site);
  return true;
}

// ---- what goes on by itself

template <int bytes>
inline void copy_async(void* target, const void* source, u32 given, Site site = Site::current()) {
  if (given == bytes) return emulator::copy_async(target, source, bytes, site);
  if (given > bytes || given % 4)
    fail("asynchronous copy: %u of %d bytes at %s:%u", given, bytes, site.file_name(), site.line());
  static constexpr b32 zeros[4] = {};
  auto* to = static_cast<unsigned char*>(target);
  auto* from = static_cast<const unsigned char*>(source);
  for (u32 i = 0; i < bytes; i += 4)
    emulator::copy_async(
        to + i, i < given ? from + i : reinterpret_cast<const unsigned char*>(zeros), 4, site);
}
inline void copy_wait_all() {
  copy_commit();
  copy_wait(0);
}

template <class T, size_t N>
inline void store_async(b32 address, std::array<T, N> values, b32 barrier,
                        Site site = Site::current()) {
  const u32 rank = rank_of(address);
  if (rank != rank_of(barrier))
    fail("asynchronous store: its mbarrier is in another block at %s:%u", site.file_name(),
         site.line());
  auto* counter = reinterpret_cast<uint64_t*>(shared(local_address(barrier), 8, site));
  emulator::store_async(shared(local_address(address), sizeof values, site), counter, rank,
                        values.data(), sizeof values, site);
}

}  // namespace emulator::ptx
