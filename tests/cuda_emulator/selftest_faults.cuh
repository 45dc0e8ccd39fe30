#pragma once
// Kernels with one fault each. The comment FAULT names the case at the line (or lines) that the
// report must name; a case whose report names no line has none.

#include "selftest_case.h"

namespace selftest {

// ---- threads that wait for what never comes

__global__ void deadlock() {
  if (threadIdx.x < 32)
    __syncwarp();
  else if (threadIdx.x < 63)
    __syncwarp();  // FAULT deadlock
  else
    __syncthreads();  // FAULT deadlock
}

__global__ void late_bytes() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    mbarrier_expect(barrier, 8);
    store_async(reinterpret_cast<uint32_t*>(bytes + 8), barrier, 0, 1u);
  }
  __syncthreads();
  mbarrier_wait(barrier, 0);  // FAULT late_bytes
}

__global__ void livelock(unsigned* flag) {
  while (load_acquire(flag) == 0) {  // FAULT livelock
  }
}

__global__ void livelock_of_two(unsigned* flags) {
  while (load_acquire(flags) == 0 || load_relaxed(flags + 1) == 0) {  // FAULT livelock_of_two
    flags[2 + threadIdx.x] = 1;                                       // what nobody waits for
  }
}

// ---- divergence

__global__ void divergent_barrier() {
  if (threadIdx.x < 32)
    __syncthreads();  // FAULT divergent_barrier
  else
    __syncthreads();  // FAULT divergent_barrier
}

__global__ void divergent_warp() {
  if (threadIdx.x % 2)
    __syncwarp();  // FAULT divergent_warp
  else
    __shfl_sync(0xffffffffu, 1.0f, 0);  // FAULT divergent_warp
}

__global__ void not_in_mask() { __syncwarp(0x0000ffffu); }  // FAULT not_in_mask

__global__ void overlapping_masks() {
  if (threadIdx.x < 16)
    __syncwarp(0x0001ffffu);  // FAULT overlapping_masks
  else
    __syncwarp(0xffff0000u);  // FAULT overlapping_masks
}

__global__ void lane_leaves() {
  if (threadIdx.x == 7) return;
  __syncwarp();  // FAULT lane_leaves
}

__global__ void half_mma(float* y) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  mma_bf16(d, a, b);  // FAULT half_mma
  y[threadIdx.x] = d[0];
}

__global__ void half_cluster_sync() {
  if (cluster_rank() == 0) {
    emulator::cluster_arrive();
    emulator::cluster_arrive();  // FAULT half_cluster_sync
  }
}

// ---- mbarriers and the shared memory of other blocks

__global__ void over_arrival() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  if (threadIdx.x == 0) mbarrier_init(barrier, 1);
  __syncthreads();
  mbarrier_expect(barrier, 4);  // FAULT over_arrival
}

__global__ void too_many_bytes() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  auto* box = reinterpret_cast<uint2*>(bytes + 8);
  mbarrier_init(barrier, 1);
  mbarrier_expect(barrier, 4);
  store_async(box, barrier, 0, make_uint2(1, 2));  // FAULT too_many_bytes
  mbarrier_wait(barrier, 0);
}

__global__ void no_init() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  mbarrier_wait(reinterpret_cast<uint64_t*>(bytes), 0);  // FAULT no_init
}

__global__ void exited_block() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  if (threadIdx.x == 0) mbarrier_init(barrier, 1);
  cluster_sync();
  if (cluster_rank() == 1) return;
  while (emulator::wave->block[blockIdx.x + 1].alive) emulator::yield();
  mbarrier_arrive_remote(barrier, 1);  // FAULT exited_block
}

__global__ void no_such_rank() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  mbarrier_arrive_remote(reinterpret_cast<uint64_t*>(bytes), 2);  // FAULT no_such_rank
}

__global__ void store_outside() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  mbarrier_init(barrier, 1);
  store_async(reinterpret_cast<uint32_t*>(bytes + 64), barrier, 0, 1u);  // FAULT store_outside
}

__global__ void store_in_flight() {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  mbarrier_init(barrier, 1);
  mbarrier_expect(barrier, 4);
  store_async(reinterpret_cast<uint32_t*>(bytes + 8), barrier, 0, 1u);  // FAULT store_in_flight
}

// ---- asynchronous copies

__global__ void copy_in_flight(const float* x) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<4>(bytes, x);  // FAULT copy_in_flight
  copy_commit();
}

__global__ void misaligned_source(const float* x) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<16>(bytes, x + 1);  // FAULT misaligned_source
  copy_wait<0>();
}

__global__ void misaligned_target(const float* x) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<8>(bytes + 4, x);  // FAULT misaligned_target
  copy_wait<0>();
}

__global__ void copy_to_global(float* x) {
  copy_async<4>(x + 1, x);  // FAULT copy_to_global
  copy_wait<0>();
}

// ---- wrong values, which tests of results must see

__global__ void uninitialised(float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  y[threadIdx.x] = reinterpret_cast<float*>(bytes)[threadIdx.x];
}

__global__ void no_wait(const float* x, float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<4>(bytes + 4 * threadIdx.x, x + threadIdx.x);
  copy_commit();
  copy_wait<1>();
  y[threadIdx.x] = reinterpret_cast<float*>(bytes)[threadIdx.x];
  copy_wait<0>();
}

// A copy into a buffer that others still read.
__global__ void early_copy(const float* x, float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* buffer = reinterpret_cast<float*>(bytes);
  buffer[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  copy_async<4>(buffer + threadIdx.x, x + blockDim.x + threadIdx.x);
  copy_commit();
  __syncwarp();
  y[threadIdx.x] = buffer[(threadIdx.x + 1) % blockDim.x];
  copy_wait<0>();
}

__global__ void nothing() {}

struct Large {
  float of[10 * 1024];
};

__global__ void large_static(float* y) {
  RNNFAST_SHARED(Large, large);
  large.of[threadIdx.x] = 1;
  y[threadIdx.x] = large.of[threadIdx.x];
}

struct TooLarge {
  float of[12 * 1024 + 1];
};

__global__ void too_large_static(float* y) {
  RNNFAST_SHARED(TooLarge, large);
  y[threadIdx.x] = large.of[threadIdx.x];
}

// ---- their launches

template <unsigned THREADS, size_t SHARED, auto KERNEL>
void one_block() {
  launch({.grid = 1, .block = THREADS, .shared_bytes = SHARED}, KERNEL);
}

template <unsigned THREADS, size_t SHARED, auto KERNEL>
void one_cluster() {
  launch({.grid = 2, .block = THREADS, .shared_bytes = SHARED, .cluster = 2}, KERNEL);
}

template <class Value, unsigned THREADS, size_t SHARED, auto KERNEL>
void with_memory() {
  std::vector<Value> memory(64);
  launch({.grid = 1, .block = THREADS, .shared_bytes = SHARED}, KERNEL, memory.data());
}

inline void run_mma_on_sm75() {
  const OnDevice device(emulator::kT4);
  with_memory<float, 32, 0, half_mma>();
}

inline void run_mbarrier_on_sm80() {
  const OnDevice device(emulator::kA100);
  one_block<64, 1024, late_bytes>();
}

inline void run_uninitialised() {
  std::vector<float> y(32);
  launch({.grid = 1, .block = 32, .shared_bytes = 128}, uninitialised, y.data());
  expect_equal(y, std::vector<float>(32));
}

inline void run_no_wait() {
  const std::vector<float> x = counted(32);
  std::vector<float> y = unwritten(32);
  launch({.grid = 1, .block = 32, .shared_bytes = 128}, no_wait, x.data(), y.data());
  expect_equal(y, x);
}

inline void run_early_copy() {
  const std::vector<float> x = counted(64);
  std::vector<float> y = unwritten(32), expected = counted(32);
  std::rotate(expected.begin(), expected.begin() + 1, expected.end());
  launch({.grid = 1, .block = 32, .shared_bytes = 128}, early_copy, x.data(), y.data());
  expect_equal(y, expected);
}

inline const Case kFaults[] = {{"deadlock", one_block<64, 0, deadlock>},
                               {"late_bytes", one_block<64, 1024, late_bytes>},
                               {"livelock", with_memory<unsigned, 64, 0, livelock>},
                               {"livelock_of_two", with_memory<unsigned, 2, 0, livelock_of_two>},
                               {"divergent_barrier", one_block<64, 0, divergent_barrier>},
                               {"divergent_warp", one_block<32, 0, divergent_warp>},
                               {"not_in_mask", one_block<32, 0, not_in_mask>},
                               {"overlapping_masks", one_block<32, 0, overlapping_masks>},
                               {"lane_leaves", one_block<32, 0, lane_leaves>},
                               {"half_mma", with_memory<float, 16, 0, half_mma>},
                               {"mma_on_sm75", run_mma_on_sm75},
                               {"mbarrier_on_sm80", run_mbarrier_on_sm80},
                               {"half_cluster_sync", one_cluster<32, 0, half_cluster_sync>},
                               {"over_arrival", one_block<32, 1024, over_arrival>},
                               {"too_many_bytes", one_block<1, 1024, too_many_bytes>},
                               {"no_init", one_block<1, 1024, no_init>},
                               {"exited_block", one_cluster<1, 1024, exited_block>},
                               {"no_such_rank", one_cluster<1, 1024, no_such_rank>},
                               {"store_outside", one_block<1, 64, store_outside>},
                               {"store_in_flight", one_block<1, 64, store_in_flight>},
                               {"copy_in_flight", with_memory<float, 1, 64, copy_in_flight>},
                               {"misaligned_source", with_memory<float, 1, 64, misaligned_source>},
                               {"misaligned_target", with_memory<float, 1, 64, misaligned_target>},
                               {"copy_to_global", with_memory<float, 1, 64, copy_to_global>},
                               {"uninitialised", run_uninitialised},
                               {"no_wait", run_no_wait},
                               {"early_copy", run_early_copy}};

}  // namespace selftest
