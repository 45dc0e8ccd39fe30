#pragma once
// How the blocks that share a sub-batch pass operands to each other. The drivers of
// mma_kernels.cuh use all exchanges alike: the values of phase n, which step n of a product
// multiplies, are sent by all lanes of a warp together, two sequences each, and received by all
// threads of the block as slabs of bfloat16 in shared memory. Phases alternate between two buffers.
//
// A buffer is rewritten two phases later. That is safe: a sender of phase n + 2 has received phase
// n + 1 from every block, and no block sends phase n + 1 before it has read phase n.

#include "cuda/bfloat16.cuh"
#include "cuda/recurrent.h"
#include "cuda/resources.h"
#include "cuda/scalar.cuh"

namespace rnnfast::cuda {

// The two buffers of a product's slabs, 8 rows each.
struct SlabBuffers {
  uint32_t* words;
  int slabs, parts, stride;

  RNNFAST_DEVICE uint32_t* at(int phase, int slab, int part) const {
    return words + (((phase & 1) * slabs + slab) * parts + part) * kMmaRows * stride;
  }
  RNNFAST_DEVICE void clear() const {
    for (int i = threadIdx.x; i < 2 * slabs * parts * kMmaRows * stride; i += kThreads)
      words[i] = 0;
  }
};

// Two neighbouring lanes' units (4 lanes apart) of two sequences, as words for a slab: even units
// end with the word of the first sequence, odd ones with that of the second.
struct SlabWord {
  Pair pair;
  int row;   // of 8
  int word;  // of the row

  RNNFAST_DEVICE SlabWord(int unit, const float (&values)[2]) {
    const bool odd = unit & 1;
    const float other = __shfl_xor_sync(0xffffffffu, odd ? values[0] : values[1], 4);
    pair = odd ? Pair::of(other, values[1]) : Pair::of(values[0], other);
    row = int(threadIdx.x) % 4 * 2 + odd;
    word = unit / 2;
  }
};

// For one block that has all units.
struct BlockExchange {
  static constexpr int kCapability = 80;
  SlabBuffers buffers;

  RNNFAST_DEVICE BlockExchange(const SlabBuffers& b, uint64_t*, int /*steps*/, int /*units*/)
      : buffers(b) {}
  template <class Rows>
  RNNFAST_DEVICE void receive(int, int, bool, const Rows&, Index, int, int) const {
    __syncthreads();
  }
  RNNFAST_DEVICE const uint32_t* slab(int phase, int, int i, int part) const {
    return buffers.at(phase, i, part);
  }
  RNNFAST_DEVICE static void store(float* to, float value) { *to = value; }
  RNNFAST_DEVICE void send(int phase, int slab, int unit, const float (&values)[2]) const {
    const SlabWord w(unit, values);
    if (w.word >= buffers.stride) return;
    buffers.at(phase, slab, 0)[w.row * buffers.stride + w.word] = w.pair.high;
    if (buffers.parts == 2)
      buffers.at(phase, slab, 1)[w.row * buffers.stride + w.word] = w.pair.low;
  }
  RNNFAST_DEVICE static void begin() {}
};

// The blocks of a cluster write into each other's shared memory; an mbarrier per buffer counts the
// bytes.
struct ClusterExchange {
  static constexpr int kCapability = 90;
  SlabBuffers buffers;
  uint64_t* barriers;
  int steps;
  int words;  // sent per row
  int bytes;  // per phase

  RNNFAST_DEVICE ClusterExchange(const SlabBuffers& b, uint64_t* two_barriers, int count, int units)
      : buffers(b),
        barriers(two_barriers),
        steps(count),
        words(units / 2),
        bytes(b.slabs * b.parts * kMmaRows * words * 4) {
    if (threadIdx.x != 0) return;
    for (int phase = 0; phase < 2; ++phase) {
      mbarrier_init(&barriers[phase], 1);
      mbarrier_fence_init();
      if (phase < steps) mbarrier_expect(&barriers[phase], bytes);
    }
  }
  // Idle warps must not wait here. Nobody waits for them, so they could fall two phases behind and
  // miss a parity flip.
  template <class Rows>
  RNNFAST_DEVICE void receive(int phase, int, bool idle, const Rows&, Index, int, int) const {
    if (idle) return;
    mbarrier_wait(&barriers[phase & 1], phase >> 1 & 1);
    if (threadIdx.x == 0 && phase + 2 < steps) mbarrier_expect(&barriers[phase & 1], bytes);
  }
  RNNFAST_DEVICE const uint32_t* slab(int phase, int, int i, int part) const {
    return buffers.at(phase, i, part);
  }
  RNNFAST_DEVICE static void store(float* to, float value) { *to = value; }
  RNNFAST_DEVICE void send(int phase, int slab, int unit, const float (&values)[2]) const {
    const SlabWord w(unit, values);
    if (phase >= steps || w.word >= words) return;
    const unsigned rank = cluster_rank();
    for (unsigned r = 0; r < gridDim.x; ++r) {
      const unsigned target = (rank + r) % gridDim.x;
      store_async(buffers.at(phase, slab, 0) + w.row * buffers.stride + w.word,
                  &barriers[phase & 1], target, w.pair.high);
      if (buffers.parts == 2)
        store_async(buffers.at(phase, slab, 1) + w.row * buffers.stride + w.word,
                    &barriers[phase & 1], target, w.pair.low);
    }
  }
  // Makes sure that barriers are ready before the first store. No wait is needed at the end: a
  // block receives everything sent to it, so nothing is in flight to a block that has exited.
  RNNFAST_DEVICE static void begin() { cluster_sync(); }
};

// Blocks poll the values themselves in device memory, which the host filled with a pattern that no
// value has. Passing a value takes one store and one load, and no barrier. All blocks must be
// resident.
struct FlagExchange {
  static constexpr int kCapability = 80;
  static constexpr uint32_t kEmpty = 0xffffffffu;  // a NaN that no arithmetic produces

  SlabBuffers buffers;

  RNNFAST_DEVICE FlagExchange(const SlabBuffers& b, uint64_t*, int /*steps*/, int /*units*/)
      : buffers(b) {}

  // Receives `rows` rows of H values, `stride` apart, of each slab.
  template <class Rows>
  RNNFAST_DEVICE void receive(int, int turn, bool, const Rows& from, Index stride, int rows,
                              int H) const {
    const int words = divide_up(H, 2), per_slab = rows * words;
    for (int slab = 0; slab < buffers.slabs; ++slab)
      for (int first = 0; first < per_slab; first += kAtOnce * kThreads) {
        uint32_t values[2 * kAtOnce];
        poll(from(slab), stride, first, per_slab, words, H, values);
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          const int at = first + i * kThreads + int(threadIdx.x);
          if (at >= per_slab) continue;
          const Pair pair =
              Pair::of(__uint_as_float(values[2 * i]), __uint_as_float(values[2 * i + 1]));
          const int place = at / words * buffers.stride + at % words;
          buffers.at(turn, slab, 0)[place] = pair.high;
          if (buffers.parts == 2) buffers.at(turn, slab, 1)[place] = pair.low;
        }
      }
    __syncthreads();
  }
  RNNFAST_DEVICE const uint32_t* slab(int, int turn, int i, int part) const {
    return buffers.at(turn, i, part);
  }
  RNNFAST_DEVICE static void store(float* to, float value) {
    const uint32_t bits = __float_as_uint(value);
    store_relaxed(reinterpret_cast<unsigned*>(to), bits == kEmpty ? kEmpty >> 1 : bits);
  }
  RNNFAST_DEVICE void send(int, int, int, const float (&)[2]) const {}
  RNNFAST_DEVICE static void begin() {}

 private:
  static constexpr int kAtOnce = 4;  // words that a thread waits for together

  // An offset fits an int: it stays within 8 rows.
  RNNFAST_DEVICE static void poll(const float* from, Index stride, int first, int per_slab,
                                  int words, int H, uint32_t (&values)[2 * kAtOnce]) {
    int offsets[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kThreads + int(threadIdx.x), k = at % words * 2;
      offsets[i] = at / words * int(stride) + k;
      values[2 * i] = at < per_slab ? kEmpty : 0;
      values[2 * i + 1] = at < per_slab && k + 1 < H ? kEmpty : 0;
    }
    bool waits = true;
    while (waits) {
      waits = false;
#pragma unroll
      for (int i = 0; i < 2 * kAtOnce; ++i) {
        if (values[i] != kEmpty) continue;
        values[i] = load_relaxed(reinterpret_cast<const unsigned*>(from) + offsets[i / 2] + i % 2);
        waits = waits || values[i] == kEmpty;
      }
    }
  }
};

}  // namespace rnnfast::cuda
