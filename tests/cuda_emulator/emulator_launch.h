#pragma once
// A launch: checks what the device would check, then runs the blocks. Those of a cooperative grid
// are all on the device at once; others need not be, and come in waves, so that memory stays
// bounded.

#include <mutex>

#include "emulator_async.h"

namespace emulator {

// Last thing that a thread does, and the first that others may notice of its end.
EMULATOR_UNTRACED inline void exit_thread() {
  Fiber& fiber = *current;
  Block& block = *fiber.block;
  if (fiber.copy_count)
    fail("thread exits with %d asynchronous copies in flight, the first from %s:%u",
         fiber.copy_count, fiber.copies[0].site.file_name(), fiber.copies[0].site.line());
  if (fiber.cluster_arrived) fail("thread exits between arrival and wait of a cluster barrier");
  leave_warp();
  if (--block.alive == 0) {
    check_no_stores_to(block);
    forbid(block.shared, block.shared_bytes);
  }
  release(&launch_order[1]);
  fiber.exited = true;
  made_progress();
  leave(block.barrier);
  leave(wave->clusters[block.cluster]);
  if (--wave->remaining == 0) switch_to(main_fiber);
  run_next();
  std::abort();
}

EMULATOR_UNTRACED inline void run_thread() {
  stack_entered(nullptr);
  acquire(&launch_order[0]);
  (*wave->body)();
  exit_thread();
}

// To make a thread of ThreadSanitizer takes 0.4 ms. The first ones of a launch are used again by
// the next, which comes after it anyway; within a launch none is, as that would order what it did
// with what it does.
constexpr int kTsanThreads = 3072;
struct TsanThreads {
  void* kept[kTsanThreads];
  int count = 0, used = 0;  // by this launch
};
inline TsanThreads tsan_threads;

EMULATOR_UNTRACED inline void take_tsan_thread([[maybe_unused]] Fiber& fiber) {
#if defined(__SANITIZE_THREAD__)
  TsanThreads& threads = tsan_threads;
  if (threads.used == threads.count && threads.count < kTsanThreads)
    threads.kept[threads.count++] = __tsan_create_fiber(0);
  fiber.tsan_kept = threads.used < threads.count;
  fiber.tsan = fiber.tsan_kept ? threads.kept[threads.used++] : __tsan_create_fiber(0);
#endif
}

EMULATOR_UNTRACED inline void give_tsan_thread([[maybe_unused]] const Fiber& fiber) {
#if defined(__SANITIZE_THREAD__)
  if (!fiber.tsan_kept) __tsan_destroy_fiber(fiber.tsan);
#endif
}

// After a failed launch: abandoned threads are in the middle of calls.
EMULATOR_UNTRACED inline void drop_tsan_threads() {
#if defined(__SANITIZE_THREAD__)
  for (int i = 0; i < tsan_threads.count; ++i) __tsan_destroy_fiber(tsan_threads.kept[i]);
  tsan_threads.count = 0;
#endif
}

EMULATOR_UNTRACED inline void prepare_thread(Block& block, unsigned index, unsigned number,
                                             char* stack) {
  Fiber& fiber = block.fibers[index];
  const dim3 size = wave->shape->block;
  fiber.block = &block;
  fiber.index = index;
  fiber.thread = {index % size.x, index / size.x % size.y, index / size.x / size.y};
  fiber.stack = stack;
  fiber.stack_bytes = kStackBytes;
  prepare_stack(fiber, run_thread, number);
  block.warps[index / 32].existing |= 1u << (index % 32);
  take_tsan_thread(fiber);
}

EMULATOR_UNTRACED inline void prepare_block(Block& block, uint64_t linear) {
  const Shape& shape = *wave->shape;
  const dim3 grid = shape.grid;
  block.index = {static_cast<unsigned>(linear % grid.x),
                 static_cast<unsigned>(linear / grid.x % grid.y),
                 static_cast<unsigned>(linear / grid.x / grid.y)};
  block.number = static_cast<unsigned>(&block - wave->block);
  block.rank = block.number % wave->cluster_size;
  block.cluster = block.number / wave->cluster_size;
  block.alive = block.barrier.expected = wave->threads;
  block.shared_bytes = shape.shared_bytes;
  block.shared = static_cast<unsigned char*>(allocate_shared(shape.shared_bytes));
  block.warps = new Warp[(wave->threads + 31) / 32];
  block.fibers = wave->fibers + size_t{block.number} * wave->threads;
}

// Blocks first ... first + blocks of the grid; `begins`: no wave of the launch has run yet.
EMULATOR_UNTRACED inline void prepare_wave(Wave& next, uint64_t first, unsigned blocks,
                                           bool begins) {
  const Unrecorded guard;
  wave = &next;
  const unsigned threads = static_cast<unsigned>(volume(next.shape->block));
  const unsigned count = blocks * threads, clusters = blocks / next.shape->cluster;
  next.blocks = blocks;
  next.threads = threads;
  next.cluster_size = next.shape->cluster;
  next.block = new Block[blocks];
  next.clusters = new Barrier[clusters];
  next.fibers = new Fiber[count];
  next.ready = new Fiber*[count + 1];
  next.remaining = count;
  statistics.most_threads = max<uint64_t>(statistics.most_threads, count);
  next.random = (seed + 1) * 0x9e3779b97f4a7c15u ^ (first + 1) * 0xbf58476d1ce4e5b9u;
  if (!next.random) next.random = 1;
  for (unsigned c = 0; c < clusters; ++c) next.clusters[c].expected = next.cluster_size * threads;
  char* stack = stacks(count, begins);
  allow(stack, count * kStackBytes);
  for (unsigned b = 0; b < blocks; ++b) {
    prepare_block(next.block[b], first + b);
    for (unsigned t = 0; t < threads; ++t, stack += kStackBytes)
      prepare_thread(next.block[b], t, b * threads + t, stack);
  }
  // The last that is ready runs first.
  for (unsigned i = 0; i < count; ++i)
    make_ready(next.fibers[policy == Policy::kSequential ? count - 1 - i : i]);
}

// What abandoned threads did, too, comes before what the host does next.
EMULATOR_UNTRACED inline void order_abandoned([[maybe_unused]] const Wave& failed) {
#if defined(__SANITIZE_THREAD__)
  for (unsigned i = 0; i < failed.blocks * failed.threads; ++i) {
    __tsan_switch_to_fiber(failed.fibers[i].tsan, __tsan_switch_to_fiber_no_sync);
    __tsan_release(&launch_order[1]);
  }
  __tsan_switch_to_fiber(main_fiber.tsan, __tsan_switch_to_fiber_no_sync);
  __tsan_acquire(&launch_order[1]);
#endif
}

EMULATOR_UNTRACED inline void free_wave(Wave& done) {
  const Unrecorded guard;
  for (unsigned i = 0; i < done.blocks * done.threads; ++i) {
    std::free(done.fibers[i].copies);
    give_tsan_thread(done.fibers[i]);
  }
  for (unsigned b = 0; b < done.blocks; ++b) {
    Block& block = done.block[b];
    for (int i = 0; i < block.static_count; ++i) std::free(block.statics[i].memory);
    allow(block.shared, block.shared_bytes);
    std::free(block.shared);
    delete[] block.warps;
  }
  std::free(done.stores);
  delete[] done.block;
  delete[] done.clusters;
  delete[] done.fibers;
  delete[] done.ready;
  wave = nullptr;
}

EMULATOR_UNTRACED inline bool run_wave(const Shape& shape, const std::function<void()>& body,
                                       uint64_t first, unsigned blocks, bool begins) {
  Wave next;
  next.shape = &shape;
  next.body = &body;
  prepare_wave(next, first, blocks, begins);
#if defined(__SANITIZE_THREAD__)
  main_fiber.tsan = __tsan_get_current_fiber();
#endif
  main_fiber.stack = nullptr;
  current = &main_fiber;
  release(&launch_order[0]);
  run_next();
  if (next.failed) {
    order_abandoned(next);
    last_error = next.report;
  }
  free_wave(next);
  if (next.failed) drop_tsan_threads();
  return !next.failed;
}

// Clusters are never split. Under ThreadSanitizer a thread costs almost a megabyte.
inline unsigned blocks_of_wave(const Shape& shape) {
  const uint64_t blocks = volume(shape.grid);
  if (shape.cooperative) return static_cast<unsigned>(blocks);
  const uint64_t at_once = kThreadSanitizer ? 512 : 1024;
  const uint64_t clusters = max<uint64_t>(1, at_once / (volume(shape.block) * shape.cluster));
  return static_cast<unsigned>(min(blocks, clusters * shape.cluster));
}

// ThreadSanitizer has room for 8128 threads in all, and remembers some that have ended.
constexpr uint64_t kMostThreads = kThreadSanitizer ? 4096 : 1 << 18;

// Runs the body once for every thread of the grid. False, and last_error tells why, if the device
// would refuse the launch or the kernel did what it must not.
inline bool launch(const Shape& shape, const std::function<void()>& body) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  ++statistics.launches;
  last_error = refusal(shape);
  if (last_error.empty() && blocks_of_wave(shape) * volume(shape.block) > kMostThreads)
    last_error =
        "emulator: room for at most " + std::to_string(kMostThreads) + " threads at a time";
  if (!last_error.empty()) return false;
  ::blockDim = shape.block;
  ::gridDim = shape.grid;
  const uint64_t blocks = volume(shape.grid), step = blocks_of_wave(shape),
                 waves = (blocks + step - 1) / step;
  tsan_threads.used = 0;
  bool good = true;
  for (uint64_t i = 0; i < waves && good; ++i) {
    const uint64_t first = (policy == Policy::kReversed ? waves - 1 - i : i) * step;
    good = run_wave(shape, body, first, static_cast<unsigned>(min(step, blocks - first)), i == 0);
  }
  acquire(&launch_order[1]);
  return good;
}

}  // namespace emulator
