#pragma once
// Kernels that break the rules of memory: races for ThreadSanitizer, addresses for
// AddressSanitizer. Values may come out right all the same. The comment FAULT stands at lines of
// which the report must name one.

#include "selftest_case.h"

namespace selftest {

// ---- races

// Without the barrier between the store and the neighbour's load.
__global__ void race_shared(float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* buffer = reinterpret_cast<float*>(bytes);
  buffer[threadIdx.x] = threadIdx.x;                        // FAULT race_shared
  y[threadIdx.x] = buffer[(threadIdx.x + 1) % blockDim.x];  // FAULT race_shared
}

// Without the barrier between a step's loads and the next step's stores.
__global__ void race_reuse(float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* buffer = reinterpret_cast<float*>(bytes);
  float sum = 0;
  for (int step = 0; step < 3; ++step) {
    buffer[threadIdx.x] = step;  // FAULT race_reuse
    __syncthreads();
    sum += buffer[(threadIdx.x + 1) % blockDim.x];  // FAULT race_reuse
  }
  y[threadIdx.x] = sum;
}

// A shuffle makes the lanes meet, but orders no memory.
__global__ void race_shuffle(float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* buffer = reinterpret_cast<float*>(bytes);
  buffer[threadIdx.x] = threadIdx.x;  // FAULT race_shuffle
  const float other = __shfl_sync(0xffffffffu, 1.0f, 0);
  y[threadIdx.x] = other + buffer[threadIdx.x ^ 1];  // FAULT race_shuffle
}

// Others read what was copied: that takes a barrier, not only the copier's wait.
__global__ void race_copy(const float* x, float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<4>(bytes + 4 * threadIdx.x, x + threadIdx.x);  // FAULT race_copy
  copy_commit();
  copy_wait<0>();                                                     // FAULT race_copy
  y[threadIdx.x] = reinterpret_cast<float*>(bytes)[threadIdx.x ^ 1];  // FAULT race_copy
}

// The barrier comes before the wait: the copies may land after it.
__global__ void race_late_wait(const float* x, float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<4>(bytes + 4 * threadIdx.x, x + threadIdx.x);
  copy_commit();
  __syncthreads();
  y[threadIdx.x] = reinterpret_cast<float*>(bytes)[threadIdx.x ^ 1];  // FAULT race_late_wait
  copy_wait<0>();                                                     // FAULT race_late_wait
}

// Blocks that run one after the other write the same word: on the device nothing orders them.
__global__ void race_blocks(float* y) {
  if (threadIdx.x == 0) y[0] = blockIdx.x;  // FAULT race_blocks
}

__device__ inline void publish(float* data, unsigned* flag, bool released) {
  data[0] = 1;  // FAULT race_relaxed race_store
  if (released)
    add_release(flag, 1);
  else
    store_relaxed(flag, 1);
}

__global__ void message(float* data, unsigned* flag, float* y, bool release, bool acquire) {
  if (blockIdx.x == 0) return publish(data, flag, release);
  if (acquire) {
    while (load_acquire(flag) == 0) {
    }
  } else {
    while (load_relaxed(flag) == 0) {
    }
  }
  y[0] = data[0];  // FAULT race_relaxed race_store
}

// A plain store where another block polls.
__global__ void race_plain(unsigned* flag) {
  if (blockIdx.x == 0) {
    flag[0] = 1;  // FAULT race_plain
  } else {
    while (load_relaxed(flag) == 0) {  // FAULT race_plain
    }
  }
}

// A fence orders nothing by itself.
__global__ void race_fence(float* data, unsigned* flag, float* y) {
  if (blockIdx.x == 0) {
    data[0] = 1;  // FAULT race_fence
    __threadfence();
    atomicAdd(flag, 1u);
  } else {
    while (load_relaxed(flag) == 0) {
    }
    __threadfence();
    y[0] = data[0];  // FAULT race_fence
  }
}

// Reads the other block's store before its mbarrier says that it came.
__global__ void race_store_async(uint32_t* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  auto* barrier = reinterpret_cast<uint64_t*>(bytes);
  auto* box = reinterpret_cast<uint32_t*>(bytes + 8);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    mbarrier_fence_init();
    mbarrier_expect(barrier, 4);
  }
  cluster_sync();
  if (threadIdx.x == 0) {
    store_async(box, barrier, cluster_rank() ^ 1, 5u);  // FAULT race_store_async
    y[blockIdx.x] = box[0];                             // FAULT race_store_async
    mbarrier_wait(barrier, 0);
  }
  cluster_sync();
}

inline void launch_pair(float (&data)[1], bool release, bool acquire) {
  unsigned flag = 0;
  float y = 0;
  launch({.grid = 2, .block = 1, .cooperative = true}, message, data, &flag, &y, release, acquire);
}

inline const Case kRaces[] = {
    {"race_shared",
     [] {
       std::vector<float> y(64);
       launch({.grid = 1, .block = 64, .shared_bytes = 256}, race_shared, y.data());
     }},
    {"race_reuse",
     [] {
       std::vector<float> y(64);
       launch({.grid = 1, .block = 64, .shared_bytes = 256}, race_reuse, y.data());
     }},
    {"race_shuffle",
     [] {
       std::vector<float> y(32);
       launch({.grid = 1, .block = 32, .shared_bytes = 128}, race_shuffle, y.data());
     }},
    {"race_copy",
     [] {
       std::vector<float> x(32), y(32);
       launch({.grid = 1, .block = 32, .shared_bytes = 128}, race_copy, x.data(), y.data());
     }},
    {"race_late_wait",
     [] {
       std::vector<float> x(32), y(32);
       launch({.grid = 1, .block = 32, .shared_bytes = 128}, race_late_wait, x.data(), y.data());
     }},
    {"race_blocks",
     [] {
       std::vector<float> y(1);
       launch({.grid = 20, .block = 256}, race_blocks, y.data());
     }},
    {"race_relaxed",
     [] {
       float data[1] = {};
       launch_pair(data, true, false);
     }},
    {"race_store",
     [] {
       float data[1] = {};
       launch_pair(data, false, true);
     }},
    {"race_plain",
     [] {
       unsigned flag = 0;
       launch({.grid = 2, .block = 1, .cooperative = true}, race_plain, &flag);
     }},
    {"race_fence",
     [] {
       float data = 0, y = 0;
       unsigned flag = 0;
       launch({.grid = 2, .block = 1, .cooperative = true}, race_fence, &data, &flag, &y);
     }},
    {"race_store_async",
     [] {
       std::vector<uint32_t> y(2);
       launch({.grid = 2, .block = 32, .shared_bytes = 16, .cluster = 2}, race_store_async,
              y.data());
     }},
};

// The same words, released and acquired: no race.
inline void run_message() {
  float data[1] = {};
  launch_pair(data, true, true);
}

// ---- addresses

__global__ void misaligned_vector(const float* x, float* y) {
  y[0] = reinterpret_cast<const float4*>(x + 1)->x;  // FAULT misaligned_vector
}

struct Rows {
  float of[4][8];
};

__global__ void past_row(float* y) {
  RNNFAST_SHARED(Rows, rows);
  rows.of[1][0] = 1;
  y[0] = rows.of[0][threadIdx.x + 8];  // FAULT past_row
}

struct Four {
  float of[4];
};

__global__ void past_dynamic(float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  y[threadIdx.x] = reinterpret_cast<float*>(bytes)[threadIdx.x];  // FAULT past_dynamic
}

__global__ void past_static(float* y) {
  RNNFAST_SHARED(Four, four);
  float* all = four.of;
  y[threadIdx.x] = all[threadIdx.x];  // FAULT past_static
}

__global__ void past_global(float* y) { y[threadIdx.x] = 1; }  // FAULT past_global

__global__ void copy_past_global(const float* x) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  copy_async<4>(bytes + 4 * threadIdx.x, x + threadIdx.x);  // FAULT copy_past_global
  copy_commit();
  copy_wait<0>();  // FAULT copy_past_global
}

// Reads another block's shared memory through an address that it got while that block was there.
__global__ void gone_block(float* y) {
  RNNFAST_DYNAMIC_SHARED(bytes);
  const auto* theirs = static_cast<float*>(emulator::map_rank(bytes, cluster_rank() ^ 1));
  cluster_sync();
  if (cluster_rank() == 1) return;
  while (emulator::wave->block[1].alive) emulator::yield();
  y[0] = theirs[0];  // FAULT gone_block
}

inline const Case kAddresses[] = {
    {"misaligned_vector",
     [] {
       std::vector<float> x(8), y(1);
       launch({.grid = 1, .block = 1}, misaligned_vector, x.data(), y.data());
     }},
    {"past_row",
     [] {
       std::vector<float> y(1);
       launch({.grid = 1, .block = 1}, past_row, y.data());
     }},
    {"past_dynamic",
     [] {
       std::vector<float> y(64);
       launch({.grid = 1, .block = 64, .shared_bytes = 252}, past_dynamic, y.data());
     }},
    {"past_static",
     [] {
       std::vector<float> y(5);
       launch({.grid = 1, .block = 5}, past_static, y.data());
     }},
    {"past_global",
     [] {
       std::vector<float> y(31);
       launch({.grid = 1, .block = 32}, past_global, y.data());
     }},
    {"copy_past_global",
     [] {
       std::vector<float> x(31);
       launch({.grid = 1, .block = 32, .shared_bytes = 128}, copy_past_global, x.data());
     }},
    {"gone_block",
     [] {
       std::vector<float> y(1);
       launch({.grid = 2, .block = 1, .shared_bytes = 16, .cluster = 2}, gone_block, y.data());
     }},
};

}  // namespace selftest
