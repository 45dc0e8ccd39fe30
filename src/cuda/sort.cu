// A bitonic sort (Batcher 1968): runs are merged in steps that exchange pairs.
#include "cuda/device.cuh"
#include "cuda/sort.h"

namespace rnnfast::cuda {
namespace {

struct SortBlock {
  uint64_t keys[kSortBlock];
};

// Orders a pair: ascending in even runs of `run` keys and descending in odd ones, so that two runs
// form one bitonic run.
RNNFAST_DEVICE void order_pair(uint64_t& low, uint64_t& high, Index index, Index run) {
  const uint64_t a = low, b = high;
  if ((a > b) == ((index & run) == 0)) {
    low = b;
    high = a;
  }
}

// The index of the first key of pair number `pair`, where a pair's keys are `distance` apart.
RNNFAST_DEVICE Index first_of_pair(Index pair, Index distance) {
  return (pair & ~(distance - 1)) * 2 + (pair & (distance - 1));
}

}  // namespace

// Merges runs of up to `last` keys, beginning with runs of `first`, in pairs at most kSortBlock / 2
// apart.
__global__ void __launch_bounds__(kSortBlock / 2)
    sort_block_kernel(uint64_t* keys, Index first, Index last) {
  RNNFAST_SHARED(SortBlock, shared);
  const Index base = Index(blockIdx.x) * kSortBlock;
  for (int i = threadIdx.x; i < kSortBlock; i += kSortBlock / 2) shared.keys[i] = keys[base + i];
  for (Index run = first; run <= last; run *= 2)
    for (int distance = int(min(run, Index(kSortBlock)) / 2); distance > 0; distance /= 2) {
      __syncthreads();
      const int i = int(first_of_pair(threadIdx.x, distance));
      order_pair(shared.keys[i], shared.keys[i + distance], base + i, run);
    }
  __syncthreads();
  for (int i = threadIdx.x; i < kSortBlock; i += kSortBlock / 2) keys[base + i] = shared.keys[i];
}

// One step of a merge, for pairs that are further apart.
__global__ void __launch_bounds__(kSortBlock / 2)
    sort_pairs_kernel(uint64_t* keys, Index run, Index distance) {
  const Index pair = Index(blockIdx.x) * (kSortBlock / 2) + threadIdx.x;
  const Index i = first_of_pair(pair, distance);
  order_pair(keys[i], keys[i + distance], i, run);
}

void sort(uint64_t* keys, Index count, cudaStream_t stream) {
  const Launch one{.grid = unsigned(count / kSortBlock), .block = kSortBlock / 2, .stream = stream};
  launch(one, sort_block_kernel, keys, 2, kSortBlock);
  for (Index run = 2 * kSortBlock; run <= count; run *= 2) {
    for (Index distance = run / 2; distance >= kSortBlock; distance /= 2)
      launch(one, sort_pairs_kernel, keys, run, distance);
    launch(one, sort_block_kernel, keys, run, run);
  }
}

}  // namespace rnnfast::cuda
