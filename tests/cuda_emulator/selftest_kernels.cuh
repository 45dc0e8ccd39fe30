#pragma once
// Kernels without a fault: every feature of device.cuh, with results that can be computed exactly.
// nvcc compiles them, too.

#include "cuda/device.cuh"

namespace selftest {

using namespace rnnfast::cuda;

// Sums 128 values a block by shuffles and shared memory, then all blocks by a barrier of the grid.
struct WarpSums {
  float of[4];
};

__global__ void __launch_bounds__(128)
    sum_grid(const float* x, float* sums, float* total, unsigned* arrived) {
  RNNFAST_SHARED(WarpSums, warp_sums);
  float value = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int bits = 16; bits; bits /= 2) value += __shfl_xor_sync(0xffffffffu, value, bits);
  if (threadIdx.x % 32 == 0) warp_sums.of[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    const WarpSums& w = warp_sums;
    sums[blockIdx.x] = w.of[0] + w.of[1] + w.of[2] + w.of[3];
    add_release(arrived, 1);
    while (load_acquire(arrived) < gridDim.x) {
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    float all = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) all += sums[b];
    total[blockIdx.x] = all;
  }
}

// Three groups of copies in flight while the oldest is used; neighbours read each other's.
template <int BYTES>
__global__ void pipeline(const float* x, float* y, int steps) {
  constexpr int kFloats = BYTES / 4;
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* buffers = reinterpret_cast<float*>(bytes);
  const int width = blockDim.x * kFloats, mine = threadIdx.x * kFloats;
  const auto fetch = [&](int step) {
    if (step < steps) copy_async<BYTES>(buffers + step % 3 * width + mine, x + step * width + mine);
    copy_commit();
  };
  fetch(0);
  fetch(1);
  float sum = 0;
  for (int step = 0; step < steps; ++step) {
    copy_wait<1>();
    __syncthreads();  // also: everybody is done with the buffer that is filled next
    fetch(step + 2);
    sum += buffers[step % 3 * width + (mine + kFloats) % width];
  }
  copy_wait<0>();
  y[threadIdx.x] = sum;
}

template __global__ void pipeline<4>(const float*, float*, int);
template __global__ void pipeline<8>(const float*, float*, int);
template __global__ void pipeline<16>(const float*, float*, int);

// Halves of a warp work apart, with masks of their own.
__global__ void half_warps(float* y) {
  float value = threadIdx.x;
  if (threadIdx.x < 16) {
    for (int bits = 8; bits; bits /= 2) value += __shfl_xor_sync(0x0000ffffu, value, bits);
  } else {
    for (int i = 0; i < 3; ++i)
      value = __shfl_sync(0xffff0000u, value, 16 + (threadIdx.x + 1) % 16);
  }
  __syncwarp();
  y[threadIdx.x] = value + __shfl_down_sync(0xffffffffu, float(threadIdx.x), 4);
}

// Each lane loads its registers from row-major matrices as the PTX manual lays them out.
__global__ void multiply(const float* a, const float* b, float* d) {
  const int row = threadIdx.x / 4, column = threadIdx.x % 4 * 2;
  const auto pair = [](float low, float high) {
    return bfloat16_bits(low) | bfloat16_bits(high) << 16;
  };
  const auto of_a = [&](int r, int k) { return pair(a[r * 16 + k], a[r * 16 + k + 1]); };
  const auto of_b = [&](int k) { return pair(b[k * 8 + row], b[(k + 1) * 8 + row]); };
  const uint32_t left[4] = {of_a(row, column), of_a(row + 8, column), of_a(row, column + 8),
                            of_a(row + 8, column + 8)};
  const uint32_t right[2] = {of_b(column), of_b(column + 8)};
  float sum[4] = {1, 1, 1, 1};
  mma_bf16(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + column + i % 2] = sum[i];
}

// Each block sends a value to all blocks of its cluster every step and adds up what came. Two
// buffers; a block tells the others when it is done with one.
__global__ void exchange(uint32_t* y, int steps) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* full = reinterpret_cast<uint64_t*>(bytes);
  uint64_t* empty = full + 2;
  auto* inbox = reinterpret_cast<uint2*>(bytes + 64);  // (2, ranks, threads)
  constexpr unsigned kRanks = 4;
  const unsigned rank = cluster_rank(), threads = blockDim.x, me = threadIdx.x;
  if (me == 0) {
    for (int i = 0; i < 2; ++i) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, kRanks);
    }
    mbarrier_fence_init();
  }
  cluster_sync();
  uint32_t value = rank * threads + me;
  for (int step = 0; step < steps; ++step) {
    const int half = step % 2, round = step / 2;
    uint2* box = inbox + half * kRanks * threads;
    if (me == 0) mbarrier_expect(full + half, kRanks * threads * sizeof(uint2));
    if (round > 0) mbarrier_wait(empty + half, (round - 1) % 2);
    for (unsigned to = 0; to < kRanks; ++to)
      store_async(box + rank * threads + me, full + half, to, make_uint2(value, step));
    mbarrier_wait(full + half, round % 2);
    value = 0;
    for (unsigned from = 0; from < kRanks; ++from) {
      const uint2 got = box[from * threads + me];
      value += got.x + got.y;
    }
    __syncthreads();
    if (me < kRanks) mbarrier_arrive_remote(empty + half, me);
  }
  y[blockIdx.x * threads + me] = value;
  cluster_sync();
}

// Words that are their own flag: all ones until they are written.
__global__ void flags(unsigned* words, unsigned* y) {
  if (threadIdx.x == 0) store_relaxed(words + blockIdx.x, blockIdx.x + 100);
  unsigned value;
  while ((value = load_relaxed(words + (blockIdx.x + 1) % gridDim.x)) == 0xffffffffu) {
  }
  if (threadIdx.x == 0) y[blockIdx.x] = value;
}

// More threads than there are stacks for: they come in waves.
__global__ void histogram(const unsigned* x, unsigned* bins, float* sum) {
  const unsigned i = (blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;
  atomicAdd(bins + x[i] % 10, 1u);
  if (threadIdx.x == 0) atomicAdd(sum, 0.5f);
}

}  // namespace selftest
