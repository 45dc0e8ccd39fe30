#pragma once
// The recurrent product on tensor cores. One instruction adds weights (16, 16) x slab (16, 8) to an
// *accumulator* (16, 8): rows are hidden units and columns are sequences. The 16 rows of an
// accumulator are two sums of eight units each, so a lane ends up with all sums of its units and
// sequences in registers: lane = 4 * (unit of eight) + (pair of sequences).
//
// A *chunk* is 32 steps of the depth. A lane takes 8 consecutive steps of it, so that one load of
// 16 bytes feeds two instructions; weights are permuted accordingly. Weights stay on the chip for
// all time steps: the first chunks in registers, the rest in shared memory, in the order in which
// lanes read them.

#include "cuda/bfloat16.cuh"
#include "cuda/resources.h"
#include "cuda/scalar.cuh"
#include "cuda/slab_product.cuh"
#include "cuda/unroll.cuh"

namespace rnnfast::cuda {

template <class SlabProductType, bool kSplit>
struct MmaLayout {
  using SlabProduct = SlabProductType;
  static constexpr int kParts = kSplit ? 2 : 1;
  static constexpr int kOctets = mma_octets(SlabProduct::kSums), kUnits = 8 * kOctets;
  static constexpr int kAccumulators = SlabProduct::kSums * kOctets / 2;
  static constexpr int kBlocks = SlabProduct::kSlabs * kAccumulators;
  static constexpr int kHeld =
      SlabProduct::kIsFirst ? mma_held_chunks(kBlocks, SlabProduct::kSums, kParts) : 0;

  // The sum in a half of an accumulator's rows (0: rows 0 to 7, 1: rows 8 to 15), and which eight
  // of the group's units these rows are.
  RNNFAST_INLINE static constexpr int sum(int accumulator, int half) {
    return (2 * accumulator + half) % SlabProduct::kSums;
  }
  RNNFAST_INLINE static constexpr int octet(int accumulator, int half) {
    return (2 * accumulator + half) / SlabProduct::kSums;
  }
  RNNFAST_INLINE static constexpr bool multiplies(int slab, int accumulator) {
    return SlabProduct::gate(slab, sum(accumulator, 0)) >= 0 ||
           SlabProduct::gate(slab, sum(accumulator, 1)) >= 0;
  }
};

// The units of a block: [first, end), all of them below H.
struct MmaSlice {
  int hidden, first, end;
};

// A warp's share of a product: some groups of units, one after another, and the chunks of the depth
// that belong to its split.
struct MmaRole {
  MmaShape shape;
  int group, split;

  template <class Layout>
  RNNFAST_DEVICE static MmaRole of(int units, int hidden) {
    using SlabProduct = typename Layout::SlabProduct;
    const MmaShape s(units, hidden, SlabProduct::kSlabs, SlabProduct::kSums, Layout::kParts,
                     SlabProduct::kIsFirst);
    const int warp = threadIdx.x / 32;
    return {s, warp % s.abreast, warp / s.abreast};
  }

  RNNFAST_DEVICE bool idle() const { return split >= shape.splits; }
  RNNFAST_DEVICE bool finishes() const { return split == 0; }
  RNNFAST_DEVICE int group_of(int round) const { return group + round * shape.abreast; }
  RNNFAST_DEVICE bool has_group(int round) const { return group_of(round) < shape.groups; }
  RNNFAST_DEVICE int first_chunk() const { return split * shape.split_chunks; }
  RNNFAST_DEVICE int held() const { return min(shape.held, chunks()); }  // the last split has fewer
  RNNFAST_DEVICE int chunks() const {
    return min(shape.split_chunks, shape.chunks - first_chunk());
  }
};

template <class Layout>
class MmaWeights {
 public:
  using SlabProduct = typename Layout::SlabProduct;

  // Fills registers, and this warp's part of `memory`, which is the product's shared memory. No
  // other warp reads that part.
  RNNFAST_DEVICE MmaWeights(const MmaRole& role, const MmaSlice& slice, const float* weight_hh,
                            uint4* memory)
      : role_(role), shared_(memory) {
    if (role.idle()) return;
    for (int round = 0; role.has_group(round); ++round) {
      const int unit = slice.first + role.group_of(round) * Layout::kUnits;
#pragma unroll 1
      for (int at = 0; at < Layout::kBlocks * role.chunks() * kFragments; ++at) {
        const int i = at % kFragments, chunk = at / kFragments % role.chunks();
        const int block = at / kFragments / role.chunks();
        const uint4 words = fragment(slice, weight_hh, block, unit,
                                     32 * (role.first_chunk() + chunk) + i % 2 * 4, i / 2);
        if (chunk < role.shape.held)
          hold(block, chunk, i, words);
        else
          shared_[place(round, block, chunk, i)] = words;
      }
    }
  }

  // Computes sums = weights x slabs for the units of a round, over the depth of the warp's split.
  // slab(i, part) points to the first of 8 rows, which are `stride` words apart.
  template <class Slab>
  RNNFAST_DEVICE void multiply(int round, const Slab& slab, int stride,
                               float (&sums)[Layout::kAccumulators][4]) const {
    float apart[2][Layout::kAccumulators][4] = {};
    for_each_index<Layout::kHeld>([&]<int kChunk>() {
      if (kChunk < role_.held())
        chunk(kChunk, slab, stride, apart,
              [&]<int kBlock, int i>() { return held_[kBlock][kChunk][i]; });
    });
    for (int c = role_.held(); c < role_.chunks(); ++c)
      chunk(c, slab, stride, apart,
            [&]<int kBlock, int i>() { return shared_[place(round, kBlock, c, i)]; });
#pragma unroll
    for (int accumulator = 0; accumulator < Layout::kAccumulators; ++accumulator)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sums[accumulator][i] = apart[0][accumulator][i] + apart[1][accumulator][i];
  }

 private:
  RNNFAST_DEVICE int place(int round, int block, int chunk, int i) const {
    const MmaShape& s = role_.shape;
    const int stored = s.split_chunks - s.held;
    const int region = role_.group_of(round) * s.splits + role_.split;
    return (((region * Layout::kBlocks + block) * stored + chunk - s.held) * 2 * Layout::kParts +
            i) *
               32 +
           int(threadIdx.x) % 32;
  }

  // The lane's words of the 16 rows of a block, for 16 steps of the depth from `depth` on.
  RNNFAST_DEVICE static uint4 fragment(const MmaSlice& slice, const float* weight_hh, int block,
                                       int unit, int depth, int part) {
    const int lane = threadIdx.x % 32, k = depth + lane % 4 * 8;
    const Index H = slice.hidden;
    uint32_t words[2][2];  // [half of the depth][half of the rows]
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int gate = gate_of(block, half);
      const int u = unit + lane / 4 + 8 * octet_of(block, half);
      const auto weight = [&](int k) {
        const Index row = SlabProduct::kTransposed ? k : u,
                    column = SlabProduct::kTransposed ? u : k;
        const bool exists = gate >= 0 && u < slice.end && k < H;
        return exists ? weight_hh[(gate * H + row) * H + column] : 0.f;
      };
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const Pair pair = Pair::of(weight(k + 2 * r), weight(k + 2 * r + 1));
        words[r][half] = part ? pair.low : pair.high;
      }
    }
    return make_uint4(words[0][0], words[0][1], words[1][0], words[1][1]);
  }
  RNNFAST_DEVICE static int gate_of(int block, int half) {
    int gate = -1;
    for_each_index<Layout::kBlocks>([&]<int kBlock>() {
      constexpr int slab = kBlock / Layout::kAccumulators,
                    accumulator = kBlock % Layout::kAccumulators;
      constexpr int lower = SlabProduct::gate(slab, Layout::sum(accumulator, 0));
      constexpr int upper = SlabProduct::gate(slab, Layout::sum(accumulator, 1));
      if (block == kBlock) gate = half ? upper : lower;
    });
    return gate;
  }
  RNNFAST_DEVICE static int octet_of(int block, int half) {
    return Layout::octet(block % Layout::kAccumulators, half);
  }
  // Sets held_[block][chunk][i] = words with constant indices only, which keeps it in registers.
  RNNFAST_DEVICE void hold(int block, int chunk, int i, uint4 words) {
    for_each_index<Layout::kBlocks * Layout::kHeld * kFragments>([&]<int kAt>() {
      constexpr int kI = kAt % kFragments,
                    kChunk = kAt / kFragments % (Layout::kHeld + !Layout::kHeld);
      constexpr int kBlock = kAt / kFragments / (Layout::kHeld + !Layout::kHeld);
      if (block == kBlock && chunk == kChunk && i == kI) held_[kBlock][kChunk][kI] = words;
    });
  }

  template <class Slab, class Fragment>
  RNNFAST_DEVICE void chunk(int c, const Slab& slab, int stride,
                            float (&sums)[2][Layout::kAccumulators][4],
                            const Fragment& fragment) const {
    const int lane = threadIdx.x % 32;
    const int at = lane / 4 * stride + (role_.first_chunk() + c) * 16 + lane % 4 * 4;
    for_each_index<SlabProduct::kSlabs>([&]<int kSlab>() {
      uint4 v[Layout::kParts];
#pragma unroll
      for (int part = 0; part < Layout::kParts; ++part)
        v[part] = *reinterpret_cast<const uint4*>(slab(kSlab, part) + at);
      for_each_index<Layout::kAccumulators>([&]<int kAccumulator>() {
        if constexpr (Layout::multiplies(kSlab, kAccumulator)) {
          constexpr int kBlock = kSlab * Layout::kAccumulators + kAccumulator;
          for_each_index<2>([&]<int i>() {
            float (&sum)[4] = sums[i][kAccumulator];
            const uint4 w = fragment.template operator()<kBlock, i>();
            if constexpr (Layout::kParts == 2) {
              add(sum, w, v[1], i);
              add(sum, fragment.template operator()<kBlock, 2 + i>(), v[0], i);
            }
            add(sum, w, v[0], i);
          });
        }
      });
    });
  }

  RNNFAST_DEVICE static void add(float (&sum)[4], uint4 weights, uint4 values, int i) {
    const uint32_t a[4] = {weights.x, weights.y, weights.z, weights.w};
    const uint32_t b[2] = {i ? values.z : values.x, i ? values.w : values.y};
    mma_bf16(sum, a, b);
  }

  static constexpr int kFragments = 2 * Layout::kParts;  // per block and chunk

  MmaRole role_;
  uint4 held_[Layout::kBlocks][Layout::kHeld > 0 ? Layout::kHeld : 1][kFragments];
  uint4* shared_;
};

// Adds up the sums of all splits of a group, in the warp of its first split.
template <class Layout>
RNNFAST_DEVICE void add_splits(const MmaRole& role, float* partial,
                               float (&sums)[Layout::kAccumulators][4]) {
  constexpr int kValues = Layout::kAccumulators * 4;
  const auto at = [&](int split) {
    const int place = ((split - 1) * role.shape.abreast + role.group) * 32 + int(threadIdx.x) % 32;
    return partial + place * kValues;
  };
  if (!role.idle() && !role.finishes())
#pragma unroll
    for (int i = 0; i < kValues; ++i) at(role.split)[i] = sums[i / 4][i % 4];
  __syncthreads();
  if (role.finishes())
    for (int split = 1; split < role.shape.splits; ++split)
#pragma unroll
      for (int i = 0; i < kValues; ++i) sums[i / 4][i % 4] += at(split)[i];
}

// Computes the product for 8 sequences. Splits exchange their sums through `partial`, a buffer that
// must alternate from call to call. Then all lanes of a warp together call visit(unit, sums) for
// each of their units, with the sums of the lane's two sequences; some of these units and sequences
// may not exist. Without `multiplies`, the sums are 0.
template <class Layout, class Slab, class Visit>
RNNFAST_DEVICE void mma_product(const MmaRole& role, const MmaWeights<Layout>& weights,
                                const MmaSlice& slice, bool multiplies, const Slab& slab,
                                int stride, float* partial, const Visit& visit) {
  const int lane = threadIdx.x % 32;
  for (int round = 0; role.has_group(round); ++round) {
    float sums[Layout::kAccumulators][4] = {};
    if (multiplies && !role.idle()) weights.multiply(round, slab, stride, sums);
    if (multiplies && role.shape.splits > 1) add_splits<Layout>(role, partial, sums);
    if (!role.finishes()) continue;
    // Not unrolled, as the pointwise part is long.
#pragma unroll 1
    for (int octet = 0; octet < Layout::kOctets; ++octet) {
      Scalar mine[2][Layout::SlabProduct::kSums];
      for_each_index<Layout::kOctets>([&]<int kOctet>() {
        if (octet != kOctet) return;
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int s = 0; s < Layout::SlabProduct::kSums; ++s) {
            constexpr int first = kOctet * Layout::SlabProduct::kSums;
            mine[j][s] = Scalar(sums[(first + s) / 2][(first + s) % 2 * 2 + j]);
          }
      });
      visit(slice.first + role.group_of(round) * Layout::kUnits + 8 * octet + lane / 4, mine);
    }
  }
}

}  // namespace rnnfast::cuda
