#pragma once
// Who runs next, and how a launch fails. A thread runs until it waits (or, at random, until it has
// stored what others poll); the policy and the seed then choose among those that can run, so every
// schedule can be had again.

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "emulator_device.h"
#include "emulator_fiber.h"

namespace emulator {

enum class Policy { kSequential, kReversed, kRandom };

inline Policy policy = Policy::kRandom;
inline uint64_t seed = 1;
inline std::string last_error;  // of the last launch; empty if it succeeded

struct Statistics {
  uint64_t launches = 0, switches = 0, barriers = 0, collectives = 0, async_copies = 0,
           async_stores = 0;
  uint64_t most_threads = 0;  // at the same time
};
inline Statistics statistics;

// A barrier of a block or a cluster. Two objects order its phases in turn: one alone would also
// order what comes before a phase's arrival with what follows the phase before.
struct Barrier {
  unsigned arrived = 0, expected = 0;
  uint64_t phase = 0;
  Fiber* waiting = nullptr;
  Site site;
  char order[2];
};

// Lanes that meet at one operation of a warp.
struct Meeting {
  unsigned mask = 0, arrived = 0;
  uint64_t phase = 0;
  Fiber* waiting = nullptr;
  Site site;
  char order[2];
};

struct Warp {
  unsigned existing = 0;  // lanes that the block has
  unsigned exited = 0;
  unsigned open = 0;  // meetings at which somebody waits
  void* data[32];     // of the lanes that have arrived
  Meeting meetings[32];
};

struct StaticShared {
  const void* key;
  void* memory;
  size_t bytes;
};

// Barriers that PTX names by number, and what their threads vote in the current phase and the last.
constexpr int kBarriers = 16;
struct NamedBarrier {
  Barrier barrier;
  unsigned votes[2];
};

constexpr int kStaticShared = 64;  // variables a kernel

struct Block {
  uint3 index;
  unsigned number;   // in its wave
  unsigned rank;     // in its cluster
  unsigned cluster;  // in its wave
  unsigned alive;    // threads that have not exited
  unsigned char* shared;
  size_t shared_bytes;
  StaticShared statics[kStaticShared];
  int static_count = 0;
  size_t static_bytes = 0;
  Barrier barrier;  // of __syncthreads
  NamedBarrier named[kBarriers];
  Warp* warps;
  Fiber* fibers;
  Fiber* mbarrier_waiting = nullptr;
};

struct Store;  // st.async on its way

// Blocks that are on the device at the same time.
struct Wave {
  const Shape* shape = nullptr;
  const std::function<void()>* body = nullptr;
  unsigned blocks = 0, threads = 0;  // threads a block
  unsigned cluster_size = 1;
  Block* block = nullptr;
  Barrier* clusters = nullptr;
  Fiber* fibers = nullptr;
  Fiber** ready = nullptr;
  unsigned ready_count = 0, remaining = 0;
  Store* stores = nullptr;
  int store_count = 0, store_capacity = 0;
  uint64_t polls = 0;       // since anything happened
  uint64_t same_polls = 0;  // those that read what their thread had read before
  uint64_t random = 0;
  bool failed = false;
  char report[2048];
};

inline Wave* wave = nullptr;
inline char launch_order[2];  // orders threads after the launch, and the host after the threads

EMULATOR_UNTRACED inline uint32_t random_below(uint32_t bound) {
  uint64_t& state = wave->random;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>((state >> 32) * bound >> 32);
}

// Runs `to` until something runs the caller again. Orders nothing.
EMULATOR_UNTRACED inline void switch_to(Fiber& to) {
  Fiber& from = *current;
  if (&to == &from) return;
  current = &to;
  ++statistics.switches;
  if (to.block) {
    ::threadIdx = to.thread;
    ::blockIdx = to.block->index;
  }
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(from.exited ? nullptr : &from.fake_stack, to.stack,
                                 to.stack_bytes);
#endif
  change_stack(from, to);
  stack_entered(current->fake_stack);
}

// Ends the launch, of which wave->report tells; the threads are abandoned where they are.
[[noreturn]] EMULATOR_UNTRACED inline void abandon() {
  wave->failed = true;
  switch_to(main_fiber);
  std::abort();
}

// The running thread did what it must not.
[[noreturn, gnu::format(printf, 1, 2)]] EMULATOR_UNTRACED inline void fail(const char* format,
                                                                           ...) {
  char* text = wave->report;
  const int room = sizeof wave->report;
  va_list values;
  va_start(values, format);
  const int length = min(std::vsnprintf(text, room, format, values), room - 1);
  va_end(values);
  const uint3 b = current->block->index, t = current->thread;
  std::snprintf(text + length, room - length, " [block (%u, %u, %u), thread (%u, %u, %u)]", b.x,
                b.y, b.z, t.x, t.y, t.z);
  abandon();
}

inline bool same_site(const Site& a, const Site& b) {
  return a.line() == b.line() &&
         (a.file_name() == b.file_name() || !std::strcmp(a.file_name(), b.file_name()));
}

EMULATOR_UNTRACED inline void made_progress() { wave->polls = wave->same_polls = 0; }

EMULATOR_UNTRACED inline void make_ready(Fiber& fiber) {
  fiber.ready_at = static_cast<int>(wave->ready_count);
  wave->ready[wave->ready_count++] = &fiber;
}

EMULATOR_UNTRACED inline void wake_all(Fiber*& list) {
  Fiber* fiber = list;
  list = nullptr;
  while (fiber) {
    Fiber* next = fiber->next;
    make_ready(*fiber);
    fiber = next;
  }
}

EMULATOR_UNTRACED inline Fiber& take_ready(unsigned at) {
  Fiber* fiber = wave->ready[at];
  Fiber* last = wave->ready[--wave->ready_count];
  wave->ready[at] = last;
  last->ready_at = static_cast<int>(at);
  fiber->ready_at = -1;
  return *fiber;
}

// Names the places where threads wait, each once for neighbours that wait at the same.
[[noreturn]] EMULATOR_UNTRACED inline void report_deadlock() {
  char* text = wave->report;
  const int room = sizeof wave->report;
  int length = std::snprintf(text, room, "deadlock: no thread can run;");
  const Fiber* before = nullptr;
  for (unsigned i = 0; i < wave->blocks * wave->threads && length < room; ++i) {
    const Fiber& fiber = wave->fibers[i];
    if (fiber.exited) continue;
    if (!before || before->block != fiber.block || !same_site(before->site, fiber.site)) {
      const uint3 b = fiber.block->index, t = fiber.thread;
      length += std::snprintf(text + length, room - length,
                              "%s block (%u, %u, %u) thread (%u, %u, %u) waits at %s:%u",
                              before ? ";" : "", b.x, b.y, b.z, t.x, t.y, t.z,
                              fiber.site.file_name(), fiber.site.line());
    }
    before = &fiber;
  }
  abandon();
}

void deliver_store(int which);  // emulator_async.h

EMULATOR_UNTRACED inline void maybe_deliver_stores() {
  if (policy == Policy::kRandom && wave->store_count && random_below(4) == 0)
    deliver_store(static_cast<int>(random_below(wave->store_count)));
  // Else stores arrive as late as can be: when nobody can go on without them.
  while (!wave->ready_count && wave->store_count) {
    const unsigned count = wave->store_count;
    deliver_store(policy == Policy::kSequential ? 0
                  : policy == Policy::kReversed ? static_cast<int>(count - 1)
                                                : static_cast<int>(random_below(count)));
  }
}

// The caller waits, or has put itself among those that can run: another one's turn.
EMULATOR_UNTRACED inline void run_next() {
  maybe_deliver_stores();
  if (!wave->ready_count) report_deadlock();
  const unsigned last = wave->ready_count - 1;
  switch_to(take_ready(policy == Policy::kRandom ? random_below(last + 1) : last));
}

// Lets any other thread run: a polling loop must not keep those from running that it waits for.
EMULATOR_UNTRACED inline void yield() {
  maybe_deliver_stores();
  make_ready(*current);
  switch_to(take_ready(random_below(wave->ready_count)));
}

// After a store that others may see before the thread's next one.
EMULATOR_UNTRACED inline void stored() {
  made_progress();
  if (policy == Policy::kRandom && random_below(4) == 0) yield();
}

// Before a load that may be part of a polling loop. A launch is stuck when threads do nothing but
// read again what they read before; a loop over several flags only after many more turns.
EMULATOR_UNTRACED inline void poll(const void* address, Site site) {
  current->site = site;
  if (current->polled != address) wave->same_polls = 0;
  current->polled = address;
  ++wave->polls;
  ++wave->same_polls;
  if (wave->same_polls > 20000 + 2000ull * wave->ready_count || wave->polls > 50'000'000)
    fail("livelock: threads poll and nothing changes, at %s:%u", site.file_name(), site.line());
  yield();
}

}  // namespace emulator
