// Kernels that run in both tiers of the emulator: their source compiled by g++, and nvcc's PTX of
// it.

#include <cstring>

#include "cuda/device.cuh"

namespace kernels {

using namespace rnnfast::cuda;

struct Tile {
  float values[32][33];
};

// What a function of the CUDA library makes of x; all results of one x in a row.
constexpr int kFunctions = 9;
__global__ void functions(const float* x, float* y, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float a = x[i];
  float* row = y + i * kFunctions;
  row[0] = expf(a);
  row[1] = tanhf(a);
  row[2] = logf(fabsf(a));
  row[3] = sqrtf(fabsf(a));
  row[4] = 1.0f / a;
  row[5] = 1.0f / (1.0f + expf(-a));
  row[6] = sinf(a);
  row[7] = cosf(a);
  row[8] = log1pf(fabsf(a));
}

// y = transposed x (n, n), by tiles, with static and dynamic shared memory; then the sum of each
// block's tile by shuffles and one atomic addition.
__global__ void __launch_bounds__(256) transpose(const float* x, float* y, unsigned* sum, int n) {
  RNNFAST_DYNAMIC_SHARED(dynamic);
  RNNFAST_SHARED(Tile, tile);
  auto* totals = reinterpret_cast<unsigned*>(dynamic);
  const int column = threadIdx.x % 32, first = threadIdx.x / 32;
  for (int row = first; row < 32; row += 8) {
    const int r = blockIdx.y * 32 + row, c = blockIdx.x * 32 + column;
    tile.values[row][column] = r < n && c < n ? x[r * n + c] : 0.0f;
  }
  __syncthreads();
  unsigned total = 0;
  for (int row = first; row < 32; row += 8) {
    const int r = blockIdx.x * 32 + row, c = blockIdx.y * 32 + column;
    const float value = tile.values[column][row];
    if (r < n && c < n) y[r * n + c] = value;
    total += static_cast<unsigned>(value);
  }
  for (int offset = 16; offset; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
  if (column == 0) totals[first] = total;
#ifndef NO_BARRIER
  __syncthreads();
#endif
  if (threadIdx.x == 0) {
    unsigned all = 0;
    for (int i = 0; i < 8; ++i) all += totals[i];  // RACE barrier
    atomicAdd(sum, all);
  }
}

// c (16, 8) = a (16, 16 k) b (8, 16 k)^T with operands rounded to bfloat16, copied asynchronously.
__global__ void product(const float4* a, const float4* b, float* c, int k) {
  RNNFAST_DYNAMIC_SHARED(dynamic);
  auto* words = reinterpret_cast<float4*>(dynamic);
  const int lane = threadIdx.x, row = lane / 4, column = lane % 4 * 2;
  float d[4] = {};
  for (int step = 0; step < k; ++step) {
    for (int i = lane; i < 96; i += 32) {
      const float4* from =
          i < 64 ? a + (i / 4 * k + step) * 4 + i % 4 : b + ((i - 64) / 4 * k + step) * 4 + i % 4;
      copy_async<16>(words + i, from);
    }
    copy_commit();
    copy_wait<0>();
    __syncwarp();
    const auto* values = reinterpret_cast<const float*>(words);
    const auto pair = [&](int r, int at) {
      const float* two = values + r * 16 + at;
      const uint32_t low = bfloat16_bits(two[0]);
      const uint32_t high = bfloat16_bits(two[1]);
      return low | high << 16;
    };
    const uint32_t left[4] = {pair(row, column), pair(row + 8, column), pair(row, column + 8),
                              pair(row + 8, column + 8)};
    const uint32_t right[2] = {pair(row + 16, column), pair(row + 16, column + 8)};
    mma_bf16(d, left, right);
    __syncwarp();
  }
  for (int i = 0; i < 4; ++i) c[(row + i / 2 * 8) * 8 + column + i % 2] = d[i];
}

// Blocks add up their numbers through global memory: each waits for the one before it.
struct Chain {
  const unsigned* increments;
  unsigned* values;
  unsigned* flags;
};
__global__ void chain(Chain arguments, int rounds) {
  const unsigned block = blockIdx.x;
  for (int round = 1; round <= rounds; ++round) {
    if (threadIdx.x == 0) {
      const unsigned before = block ? block - 1 : gridDim.x - 1;
      const unsigned wanted = block ? round : round - 1;
#ifdef RELAXED
      while (load_relaxed(arguments.flags + before) < wanted) {
      }
#else
      while (load_acquire(arguments.flags + before) < wanted) {
      }
#endif
      const unsigned value = arguments.values[before];  // RACE relaxed
      arguments.values[block] = value * 3 + arguments.increments[block];
      add_release(arguments.flags + block, 1);
    }
  }
}

// Every block of a cluster sends its words to all others; y gets the sums.
struct Mailbox {
  uint64_t barrier;
  uint32_t words[16];
};
__global__ void exchange(const uint32_t* x, uint32_t* y, int cluster) {
  RNNFAST_SHARED(Mailbox, box);
  const unsigned rank = cluster_rank();
  if (threadIdx.x == 0) {
    mbarrier_init(&box.barrier, 1);
    mbarrier_fence_init();
    mbarrier_expect(&box.barrier, 4 * cluster);
  }
  cluster_sync();
  if (threadIdx.x < static_cast<unsigned>(cluster))
    store_async(&box.words[rank], &box.barrier, threadIdx.x, x[blockIdx.x]);
  mbarrier_wait(&box.barrier, 0);
  uint32_t sum = 0;
  for (int i = 0; i < cluster; ++i) sum += box.words[i] * (i + 1);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
  cluster_sync();
}

}  // namespace kernels

#ifndef __CUDACC__

// Runs a kernel by name on arrays; returns the error, empty if there was none.
extern "C" __attribute__((visibility("default"))) const char* run_kernel(const char* name,
                                                                         int capability, int policy,
                                                                         uint64_t seed, void* a,
                                                                         void* b, void* c,
                                                                         int size) {
  static std::string error;
  error.clear();
  emulator::policy = static_cast<emulator::Policy>(policy);
  emulator::seed = seed;
  emulator::device = capability >= 90 ? emulator::kH100 : emulator::kA100;
  const auto is = [&](const char* other) { return !std::strcmp(name, other); };
  using namespace kernels;
  auto* x = static_cast<float*>(a);
  auto* y = static_cast<float*>(b);
  auto* words = static_cast<uint32_t*>(c);
  const unsigned tiles = (size + 31) / 32;
  try {
    if (is("functions")) {
      launch({dim3((size + 63) / 64), dim3(64)}, functions, x, y, size);
    } else if (is("transpose")) {
      launch({dim3(tiles, tiles), dim3(256), 64}, transpose, x, y, words, size);
    } else if (is("too many threads")) {
      launch({dim3(1), dim3(512), 64}, transpose, x, y, words, size);
    } else if (is("product")) {
      launch({dim3(1), dim3(32), 96 * 16}, product, static_cast<const float4*>(a),
             static_cast<const float4*>(b), static_cast<float*>(c), size);
    } else if (is("chain")) {
      Launch shape{dim3(4), dim3(32)};
      shape.cooperative = true;
      const Chain arguments{static_cast<unsigned*>(a), static_cast<unsigned*>(b), words};
      launch(shape, chain, arguments, size);
    } else if (is("exchange")) {
      Launch shape{dim3(2 * size), dim3(32)};
      shape.cluster = size;
      launch(shape, exchange, static_cast<const uint32_t*>(a), static_cast<uint32_t*>(b), size);
    } else {
      error = "no such kernel";
    }
  } catch (const rnnfast::Error& failure) {
    error = failure.what();
  }
  return error.c_str();
}

#endif
