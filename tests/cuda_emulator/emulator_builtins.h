#pragma once
// What kernels call: CUDA's own functions, and the emulated side of the names that
// src/cuda/device.cuh defines for nvcc and describes. Loads that may poll let other threads run
// first.

#include "emulator_launch.h"

inline void __syncthreads(emulator::Site site = emulator::Site::current()) {
  emulator::bar_sync(site);
}

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       emulator::Site site = emulator::Site::current()) {
  emulator::collective(mask, nullptr, nullptr, true, site);
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source,
                     emulator::Site site = emulator::Site::current()) {
  return emulator::shuffle(mask, value, source, site);
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int bits,
                         emulator::Site site = emulator::Site::current()) {
  return emulator::shuffle(mask, value, static_cast<int>(emulator::lane()) ^ bits, site);
}

// Lanes that would read beyond the last keep their own value.
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned by,
                          emulator::Site site = emulator::Site::current()) {
  const unsigned lane = emulator::lane();
  return emulator::shuffle(mask, value, static_cast<int>(lane + by > 31 ? lane : lane + by), site);
}

// Orders nothing here, on purpose: synchronisation goes through the releases and acquires of
// device.cuh.
inline void __threadfence() {}

inline unsigned atomicAdd(unsigned* address, unsigned value,
                          emulator::Site site = emulator::Site::current()) {
  emulator::poll(address, site);
  emulator::made_progress();
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

inline float atomicAdd(float* address, float value,
                       emulator::Site site = emulator::Site::current()) {
  emulator::poll(address, site);
  emulator::made_progress();
  // One thread of the host runs all: nothing comes between load and store.
  auto* word = reinterpret_cast<uint32_t*>(address);
  const float old = std::bit_cast<float>(__atomic_load_n(word, __ATOMIC_RELAXED));
  __atomic_store_n(word, std::bit_cast<uint32_t>(old + value), __ATOMIC_RELAXED);
  return old;
}

namespace rnnfast::cuda {

using emulator::Site;

#define RNNFAST_DEVICE inline
#define RNNFAST_DYNAMIC_SHARED(name) unsigned char* const name = ::emulator::dynamic_shared()
#define RNNFAST_SHARED(type, name)  \
  static const char name##_key = 0; \
  type& name = *static_cast<type*>(::emulator::static_shared(&name##_key, sizeof(type)))

template <int N>
inline void copy_async(void* shared, const void* global, Site site = Site::current()) {
  static_assert(N == 4 || N == 8 || N == 16);
  emulator::copy_async(shared, global, N, site);
}

inline void copy_commit() { emulator::copy_commit(); }

template <int KEEP>
inline void copy_wait() {
  emulator::copy_wait(KEEP);
}

inline uint32_t bfloat16_bits(float x) { return __float2bfloat16_rn(x).bits; }

inline void add_release(unsigned* address, unsigned value) {
  emulator::made_progress();
  __atomic_fetch_add(address, value, __ATOMIC_RELEASE);
}

inline unsigned load_acquire(const unsigned* address, Site site = Site::current()) {
  emulator::poll(address, site);
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}

inline unsigned load_relaxed(const unsigned* address, Site site = Site::current()) {
  emulator::poll(address, site);
  return __atomic_load_n(address, __ATOMIC_RELAXED);
}

inline void store_relaxed(unsigned* address, unsigned value) {
  __atomic_store_n(address, value, __ATOMIC_RELAXED);
  emulator::stored();
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     Site site = Site::current()) {
  emulator::mma_bf16(d, a, b, site);
}

inline void mbarrier_init(uint64_t* barrier, int count, Site site = Site::current()) {
  emulator::mbarrier_init(barrier, count, site);
}

inline void mbarrier_fence_init() {}

inline void mbarrier_expect(uint64_t* barrier, int bytes, Site site = Site::current()) {
  emulator::mbarrier_arrive(barrier, bytes, site);
}

inline void mbarrier_arrive_remote(uint64_t* local, unsigned rank, Site site = Site::current()) {
  emulator::mbarrier_arrive_remote(local, rank, site);
}

inline void mbarrier_wait(uint64_t* barrier, int parity, Site site = Site::current()) {
  emulator::mbarrier_wait(barrier, parity, site);
}

inline void store_async(uint32_t* local, uint64_t* local_barrier, unsigned rank, uint32_t value,
                        Site site = Site::current()) {
  emulator::store_async(local, local_barrier, rank, &value, sizeof value, site);
}

inline void store_async(uint2* local, uint64_t* local_barrier, unsigned rank, uint2 value,
                        Site site = Site::current()) {
  emulator::store_async(local, local_barrier, rank, &value, sizeof value, site);
}

inline void cluster_sync(Site site = Site::current()) {
  emulator::cluster_arrive(site);
  emulator::cluster_wait(site);
}

inline unsigned cluster_rank() { return emulator::current->block->rank; }

}  // namespace rnnfast::cuda
