#pragma once
// Barriers of blocks and clusters, and the operations at which the lanes of a warp meet.

#include "emulator_scheduler.h"

namespace emulator {

EMULATOR_UNTRACED inline void open_barrier(Barrier& barrier) {
  made_progress();
  ++statistics.barriers;
  barrier.arrived = 0;
  ++barrier.phase;
  wake_all(barrier.waiting);
}

// Returns the phase to wait for.
EMULATOR_UNTRACED inline uint64_t arrive(Barrier& barrier, Site site) {
  if (barrier.arrived && !same_site(barrier.site, site))
    fail("divergent barrier: %s:%u while others wait at %s:%u", site.file_name(), site.line(),
         barrier.site.file_name(), barrier.site.line());
  barrier.site = current->site = site;
  const uint64_t phase = barrier.phase;
  release(&barrier.order[phase % 2]);
  if (++barrier.arrived == barrier.expected) open_barrier(barrier);
  return phase;
}

EMULATOR_UNTRACED inline void wait(Barrier& barrier, uint64_t phase) {
  if (barrier.phase == phase) {
    current->next = barrier.waiting;
    barrier.waiting = current;
  } else {
    make_ready(*current);  // who opened it has no right to go first
  }
  run_next();
  acquire(&barrier.order[phase % 2]);
}

// A thread that exits is waited for no more.
EMULATOR_UNTRACED inline void leave(Barrier& barrier) {
  if (--barrier.expected && barrier.arrived == barrier.expected) open_barrier(barrier);
}

EMULATOR_UNTRACED inline void bar_sync(Site site = Site::current()) {
  Barrier& barrier = current->block->barrier;
  wait(barrier, arrive(barrier, site));
}

EMULATOR_UNTRACED inline void cluster_arrive(Site site = Site::current()) {
  if (current->cluster_arrived)
    fail("cluster barrier: a second arrival without a wait at %s:%u", site.file_name(),
         site.line());
  current->cluster_arrived = true;
  current->cluster_phase = arrive(wave->clusters[current->block->cluster], site);
}

EMULATOR_UNTRACED inline void cluster_wait(Site site = Site::current()) {
  if (!current->cluster_arrived)
    fail("cluster barrier: a wait without an arrival at %s:%u", site.file_name(), site.line());
  current->cluster_arrived = false;
  current->site = site;
  wait(wave->clusters[current->block->cluster], current->cluster_phase);
}

// ---- warps

using Collective = void (*)(void** data, unsigned mask);

// Lanes that the warp of the running thread has.
EMULATOR_UNTRACED inline unsigned existing_lanes() {
  return current->block->warps[current->index / 32].existing;
}

EMULATOR_UNTRACED inline void check_lane(const Warp& warp, unsigned mask, Site site) {
  if (!(mask >> lane() & 1))
    fail("warp operation: lane %u is not in its own mask %08x at %s:%u", lane(), mask,
         site.file_name(), site.line());
  if (mask & warp.exited)
    fail("warp operation: mask %08x names lanes that have exited (%08x) at %s:%u", mask,
         mask & warp.exited, site.file_name(), site.line());
}

// Opens a meeting if nobody waits at that operation yet.
EMULATOR_UNTRACED inline unsigned find_meeting(Warp& warp, unsigned mask, Site site) {
  for (unsigned open = warp.open; open; open &= open - 1) {
    const unsigned at = std::countr_zero(open);
    if (warp.meetings[at].mask == mask && same_site(warp.meetings[at].site, site)) return at;
  }
  const unsigned at = std::countr_one(warp.open);
  warp.open |= 1u << at;
  warp.meetings[at].mask = mask;
  warp.meetings[at].site = site;
  return at;
}

// Lanes may wait for others that first have to meet elsewhere, but not at two places for each
// other.
EMULATOR_UNTRACED inline void check_divergence(const Warp& warp, unsigned at) {
  const Meeting& here = warp.meetings[at];
  for (unsigned open = warp.open & ~(1u << at); open; open &= open - 1) {
    const Meeting& there = warp.meetings[std::countr_zero(open)];
    if ((there.arrived & here.mask) && (here.arrived & there.mask))
      fail(
          "divergent warp operation: %s:%u with mask %08x while lanes %08x wait at %s:%u with mask "
          "%08x",
          here.site.file_name(), here.site.line(), here.mask, there.arrived, there.site.file_name(),
          there.site.line(), there.mask);
  }
}

// Prefers a lane of the same warp that has yet to come: its data are in the caches.
EMULATOR_UNTRACED inline void run_lane_of(const Meeting& meeting) {
  Fiber* first = current - lane();
  const unsigned count = 32 - std::countl_zero(existing_lanes());
  for (unsigned i = 1; i < count; ++i) {
    Fiber& fiber = first[(lane() + i) % count];
    if (fiber.ready_at >= 0 && !(meeting.arrived >> (fiber.index % 32) & 1))
      return switch_to(take_ready(fiber.ready_at));
  }
  run_next();
}

// Every lane of the mask brings its data, and the last one computes for all. `memory`: the meeting
// also orders accesses to memory, as __syncwarp does and shuffles do not.
EMULATOR_UNTRACED inline void collective(unsigned mask, void* data, Collective compute, bool memory,
                                         Site site) {
  Warp& warp = current->block->warps[current->index / 32];
  mask &= warp.existing;
  check_lane(warp, mask, site);
  const unsigned at = find_meeting(warp, mask, site);
  Meeting& meeting = warp.meetings[at];
  meeting.arrived |= 1u << lane();
  if (warp.open & (warp.open - 1)) check_divergence(warp, at);
  current->site = site;
  warp.data[lane()] = data;
  char* order = &meeting.order[meeting.phase % 2];
  if (memory) release(order);
  if (meeting.arrived == mask) {
    made_progress();
    ++statistics.collectives;
    if (compute) compute(warp.data, mask);
    meeting.arrived = 0;
    ++meeting.phase;
    warp.open &= ~(1u << at);
    wake_all(meeting.waiting);
    if (policy == Policy::kRandom && random_below(16) == 0) yield();
  } else {
    current->next = meeting.waiting;
    meeting.waiting = current;
    run_lane_of(meeting);
  }
  if (memory) acquire(order);
}

EMULATOR_UNTRACED inline void leave_warp() {
  Warp& warp = current->block->warps[current->index / 32];
  for (unsigned open = warp.open; open; open &= open - 1) {
    const Meeting& meeting = warp.meetings[std::countr_zero(open)];
    if (meeting.mask >> lane() & 1)
      fail("thread exits while lanes %08x of its warp wait for it at %s:%u", meeting.arrived,
           meeting.site.file_name(), meeting.site.line());
  }
  warp.exited |= 1u << lane();
}

// ---- what warps compute

struct Shuffle {
  uint64_t value, result;
  int source;  // lane
};

EMULATOR_UNTRACED inline void compute_shuffle(void** data, unsigned mask) {
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    auto* mine = static_cast<Shuffle*>(data[i]);
    const int source = mine->source & 31;
    // What a lane outside the mask has is not defined: all ones, a NaN.
    mine->result = mask >> source & 1 ? static_cast<Shuffle*>(data[source])->value : ~uint64_t{0};
  }
}

template <class T>
inline T shuffle(unsigned mask, T value, int source, Site site = Site::current()) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  Shuffle mine{0, 0, source};
  std::memcpy(&mine.value, &value, sizeof(T));
  collective(mask, &mine, compute_shuffle, false, site);
  std::memcpy(&value, &mine.result, sizeof(T));
  return value;
}

struct Mma {
  float* d;
  const uint32_t *a, *b;
};

EMULATOR_UNTRACED inline float bfloat16_half(uint32_t pair, int high) {
  return std::bit_cast<float>(high ? pair & 0xffff0000u : pair << 16);
}

// d(16, 8) += a(16, 16) b(16, 8), which lie in the registers of the lanes as PTX lays down for
// m16n8k16.
EMULATOR_UNTRACED inline void compute_mma(void** data, unsigned) {
  float a[16][16], b[16][8], sum[16][8] = {};
  for (int i = 0; i < 32; ++i) {
    const auto& mine = *static_cast<Mma*>(data[i]);
    const int row = i / 4, column = i % 4 * 2;
    for (int high = 0; high < 2; ++high)
      for (int k = 0; k < 16; k += 8) {
        a[row][column + k + high] = bfloat16_half(mine.a[k / 4], high);
        a[row + 8][column + k + high] = bfloat16_half(mine.a[k / 4 + 1], high);
        b[column + k + high][row] = bfloat16_half(mine.b[k / 8], high);
      }
  }
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k)
      for (int column = 0; column < 8; ++column) sum[row][column] += a[row][k] * b[k][column];
  for (int i = 0; i < 32; ++i) {
    auto& mine = *static_cast<Mma*>(data[i]);
    for (int k = 0; k < 4; ++k) mine.d[k] += sum[i / 4 + k / 2 * 8][i % 4 * 2 + k % 2];
  }
}

inline void mma_bf16(float* d, const uint32_t* a, const uint32_t* b, Site site = Site::current()) {
  if (device.capability < 80)
    fail("mma of bfloat16 needs sm_80, at %s:%u", site.file_name(), site.line());
  if (existing_lanes() != ~0u)
    fail("mma in a warp of less than 32 threads, at %s:%u", site.file_name(), site.line());
  Mma mine{d, a, b};
  collective(~0u, &mine, compute_mma, false, site);
}

}  // namespace emulator
