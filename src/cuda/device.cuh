#pragma once
// Everything that a kernel needs from the device, under names that two compilers know: nvcc, and
// g++ with the emulator of tests/cuda_emulator. Kernels include this file and nothing else of CUDA;
// it is the only file with inline assembly. For g++, emulator_builtins.h defines the names of the
// first part.
//
// If the hardware lacks an instruction (mma below sm_80, clusters below sm_90), the function traps:
// a plan must not choose such a kernel. copy_async is a plain copy below sm_80.

#include "core/index.h"
#include "core/macros.h"

#ifdef __CUDACC_RTC__  // kernels compiled at their first use, for the device only
#include "cuda/runtime_compiled.cuh"
#else
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "core/error.h"
#endif

#ifdef __CUDACC__

#ifndef __CUDACC_RTC__
#include <cuda_runtime.h>
#endif

#define RNNFAST_DEVICE __device__ __forceinline__
// The block's dynamic shared memory, as bytes.
#define RNNFAST_DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
// A static shared variable; an array is a member of a struct.
#define RNNFAST_SHARED(type, name) __shared__ type name

#ifdef __CUDA_ARCH__
#define RNNFAST_SM __CUDA_ARCH__ / 10
#else
#define RNNFAST_SM 0
#endif

namespace rnnfast::cuda {

RNNFAST_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- copies from global to shared memory that go on while the thread does

template <int N>
RNNFAST_DEVICE void copy_async(void* shared, const void* global) {
  static_assert(N == 4 || N == 8 || N == 16);
#if RNNFAST_SM >= 80
  if constexpr (N == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)),
                 "l"(global)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared_address(shared)),
                 "l"(global), "n"(N)
                 : "memory");
#else
  for (int i = 0; i < N / 4; ++i)
    static_cast<uint32_t*>(shared)[i] = static_cast<const uint32_t*>(global)[i];
#endif
}

RNNFAST_DEVICE void copy_commit() {
#if RNNFAST_SM >= 80
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all but the thread's last KEEP groups. A barrier then makes them visible to other
// threads.
template <int KEEP>
RNNFAST_DEVICE void copy_wait() {
#if RNNFAST_SM >= 80
  asm volatile("cp.async.wait_group %0;" ::"n"(KEEP) : "memory");
#endif
}

// ---- words in global memory by which blocks communicate

RNNFAST_DEVICE void add_release(unsigned* address, unsigned value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

RNNFAST_DEVICE unsigned load_acquire(const unsigned* address) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}

RNNFAST_DEVICE unsigned load_relaxed(const unsigned* address) {
  unsigned value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}

RNNFAST_DEVICE void store_relaxed(unsigned* address, unsigned value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

// ---- the bits of a number rounded to bfloat16, to nearest even

RNNFAST_DEVICE uint32_t bfloat16_bits(float x) {
#if RNNFAST_SM >= 80
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#else
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // NaN
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
#endif
}

// ---- tensor cores: d(16, 8) += a(16, 16) b(16, 8) for the warp, in the registers of m16n8k16

RNNFAST_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if RNNFAST_SM >= 80
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// ---- mbarriers: a phase ends after `count` arrivals and all announced bytes

RNNFAST_DEVICE void mbarrier_init(uint64_t* barrier, int count) {
#if RNNFAST_SM >= 90
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
#else
  __trap();
#endif
}

// Publishes the thread's initialisations to the cluster; a cluster_sync() must follow.
RNNFAST_DEVICE void mbarrier_fence_init() {
#if RNNFAST_SM >= 90
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  __trap();
#endif
}

// Arrives once and announces `bytes` of store_async for the phase.
RNNFAST_DEVICE void mbarrier_expect(uint64_t* barrier, int bytes) {
#if RNNFAST_SM >= 90
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#else
  __trap();
#endif
}

// Waits for the end of the phase of that parity; the first has parity 0.
RNNFAST_DEVICE void mbarrier_wait(uint64_t* barrier, int parity) {
#if RNNFAST_SM >= 90
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "WAIT_%=:\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra WAIT_%=;\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#else
  __trap();
#endif
}

// ---- clusters: `local` addresses refer to the same location in the block of that rank

#if RNNFAST_SM >= 90
RNNFAST_DEVICE uint32_t remote_address(const void* local, unsigned rank) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(address)
      : "r"(shared_address(local)), "r"(rank));
  return address;
}
#endif

RNNFAST_DEVICE void mbarrier_arrive_remote(uint64_t* local, unsigned rank) {
#if RNNFAST_SM >= 90
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(
                   remote_address(local, rank))
               : "memory");
#else
  __trap();
#endif
}

// Stores in the other block's shared memory, counted by its mbarrier.
RNNFAST_DEVICE void store_async(uint32_t* local, uint64_t* local_barrier, unsigned rank,
                                uint32_t value) {
#if RNNFAST_SM >= 90
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(
                   remote_address(local, rank)),
               "r"(value), "r"(remote_address(local_barrier, rank))
               : "memory");
#else
  __trap();
#endif
}

RNNFAST_DEVICE void store_async(uint2* local, uint64_t* local_barrier, unsigned rank, uint2 value) {
#if RNNFAST_SM >= 90
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(
          remote_address(local, rank)),
      "r"(value.x), "r"(value.y), "r"(remote_address(local_barrier, rank))
      : "memory");
#else
  __trap();
#endif
}

RNNFAST_DEVICE void cluster_sync() {
#if RNNFAST_SM >= 90
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
#else
  __trap();
#endif
}

// 0 in a launch without clusters.
RNNFAST_DEVICE unsigned cluster_rank() {
  unsigned rank = 0;
#if RNNFAST_SM >= 90
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}

}  // namespace rnnfast::cuda

#else
#include "emulator.h"
#endif  // __CUDACC__

namespace rnnfast::cuda {

// Whether this compilation targets devices of at least this compute capability.
RNNFAST_INLINE constexpr bool compiled_for(int capability) {
#ifdef __CUDA_ARCH__
  return __CUDA_ARCH__ / 10 >= capability;
#else
  return capability > 0;
#endif
}

#ifndef __CUDACC_RTC__

struct Launch {
  dim3 grid, block;
  size_t shared_bytes = 0;
  bool cooperative = false;  // all blocks are on the device at once, or the launch fails
  unsigned cluster = 1;      // blocks, along x
  cudaStream_t stream = nullptr;
};

// The number of blocks that take `count` items, `each` per block.
inline unsigned blocks_for(Index count, int each) { return unsigned((count + each - 1) / each); }

#ifdef __CUDACC__

inline void check(cudaError_t status, const char* what) {
  RNNFAST_CHECK(status == cudaSuccess, what, ": ", cudaGetErrorString(status));
}

// Throws if the launch fails. Errors inside the kernel show at a later call, as always in CUDA.
template <class... Parameters>
void launch(const Launch& launch, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  if (launch.shared_bytes > 48 * 1024)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(launch.shared_bytes)),
          "launch: shared memory");
  if (launch.cluster > 8)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
          "launch: cluster");
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config = {};
  config.gridDim = launch.grid;
  config.blockDim = launch.block;
  config.dynamicSmemBytes = launch.shared_bytes;
  config.stream = launch.stream;
  config.attrs = attributes;
  if (launch.cooperative) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  if (launch.cluster > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = launch.cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  }
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "launch");
}

#else

template <class... Parameters>
void launch(const Launch& launch, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  const emulator::Shape shape{launch.grid, launch.block, launch.shared_bytes, launch.cooperative,
                              launch.cluster};
#ifdef RNNFAST_EMULATED_PTX
  const bool good = emulator::ptx::launch<Parameters...>(shape, kernel, arguments...);
#else
  const bool good = emulator::launch(shape, [&] { kernel(arguments...); });
#endif
  if (!good) throw Error(emulator::last_error);
}

#endif  // __CUDACC__
#endif  // __CUDACC_RTC__

}  // namespace rnnfast::cuda
