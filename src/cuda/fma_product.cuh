#pragma once
// The recurrent product in float32 without tensor cores. A block keeps the weights of its hidden
// units in shared memory for all steps and stages slabs next to them, loading the next one while it
// multiplies the current one. A warp computes 32 sums, and its lanes share the depth.

#include "cuda/device.cuh"
#include "cuda/resources.h"
#include "cuda/scalar.cuh"
#include "cuda/slab_product.cuh"
#include "cuda/unroll.cuh"

namespace rnnfast::cuda {

inline constexpr int kWarps = kThreads / 32;

// How the 32 sums of a warp are divided into units, sums per unit, and sequences.
template <int kSums>
struct FmaLayout {
  static constexpr int power() {
    int p = 1;
    while (p < kSums) p *= 2;
    return p;
  }
  static constexpr int kPadded = power();
  static_assert(kPadded <= 32, "a warp has 32 sums");
  // With many sums, fewer sequences: each needs registers for its sums and for its values.
  static constexpr int kRows = kPadded <= 4 ? kFmaRows : kPadded < 32 ? 16 / kPadded : 1;
  static constexpr int kUnits = 32 / (kPadded * kRows);
  static_assert(kUnits <= kFmaUnits);
};

// A block's hidden units and sequences.
struct FmaSlice {
  int hidden, first_unit, units, first_row, rows;

  RNNFAST_INLINE int depth() const { return round_up(hidden, 4); }
  RNNFAST_INLINE int padded_units() const { return round_up(units, kFmaUnits); }
};

// Shared memory: weights [row block of weight_hh][unit][depth], then two slabs [row][depth];
// padding is zero. Empty for a cell without products.
struct FmaShared {
  float* weights;
  float* slabs;
  bool bfloat16;  // operands are rounded: weights here, slabs when they are read
};

template <bool kTransposed>
RNNFAST_DEVICE FmaShared load_weights(unsigned char* memory, const float* weight_hh, int gates,
                                      const FmaSlice& slice, bool bfloat16) {
  const int depth = slice.depth(), units = slice.padded_units(), H = slice.hidden;
  FmaShared shared{reinterpret_cast<float*>(memory), nullptr, bfloat16};
  const int count = gates * units * depth;
  if (count == 0) return shared;
  shared.slabs = shared.weights + count;
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const int k = i % depth, unit = i / depth % units, gate = i / depth / units;
    const int u = slice.first_unit + unit;
    const Index row = kTransposed ? k : u, column = kTransposed ? u : k;
    const bool inside = unit < slice.units && k < H;
    const float weight = inside ? weight_hh[(Index(gate) * H + row) * H + column] : 0.f;
    shared.weights[i] = bfloat16 ? rounded(weight) : weight;
  }
  for (int i = threadIdx.x; i < 2 * kFmaRows * depth; i += kThreads) shared.slabs[i] = 0.f;
  return shared;
}

// Copies rows of H values, `stride` apart.
RNNFAST_DEVICE void stage_slab(float* slab, int depth, const float* from, Index stride, int rows,
                               int H) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (H % 4 == 0) {
    for (int r = warp; r < rows; r += kWarps)
      for (int k = lane * 4; k < H; k += 128)
        copy_async<16>(slab + r * depth + k, from + r * stride + k);
  } else {
    for (int r = warp; r < rows; r += kWarps)
      for (int k = lane; k < H; k += 32) copy_async<4>(slab + r * depth + k, from + r * stride + k);
  }
  copy_commit();
}

// Returns to lane l the sum of values[l] over all lanes.
RNNFAST_DEVICE float sum_across(float (&values)[32]) {
  const int lane = threadIdx.x % 32;
  for_each_index<5>([&]<int kRound>() {
    constexpr int half = 16 >> kRound;
    const bool upper = lane & half;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? values[i] : values[i + half];
      const float kept = upper ? values[i + half] : values[i];
      values[i] = kept + __shfl_xor_sync(0xffffffffu, sent, half);
    }
  });
  return values[0];
}

template <class SlabProduct>
struct FmaSums {
  using Layout = FmaLayout<SlabProduct::kSums>;
  float values[32] = {};  // [unit][sum][row]

  // Adds the contribution of slab kSlab; `unit` is the warp's first unit in the block.
  template <int kSlab>
  RNNFAST_DEVICE void add(const FmaShared& shared, const FmaSlice& slice, int unit,
                          const float* slab) {
    const int depth = slice.depth(), units = slice.padded_units();
    for (int k = threadIdx.x % 32 * 4; k < depth; k += 128) {
      float4 v[Layout::kRows];
#pragma unroll
      for (int r = 0; r < Layout::kRows; ++r) {
        v[r] = *reinterpret_cast<const float4*>(slab + r * depth + k);
        if (shared.bfloat16)
          v[r] = {rounded(v[r].x), rounded(v[r].y), rounded(v[r].z), rounded(v[r].w)};
      }
      for_each_index<Layout::kUnits * SlabProduct::kSums>([&]<int kPair>() {
        constexpr int u = kPair / SlabProduct::kSums, s = kPair % SlabProduct::kSums;
        constexpr int gate = SlabProduct::gate(kSlab, s);
        if constexpr (gate >= 0) {
          const float4 w = *reinterpret_cast<const float4*>(
              shared.weights + (Index(gate) * units + unit + u) * depth + k);
#pragma unroll
          for (int r = 0; r < Layout::kRows; ++r) {
            float& sum = values[(u * Layout::kPadded + s) * Layout::kRows + r];
            sum = fmaf(w.w, v[r].w, fmaf(w.z, v[r].z, fmaf(w.y, v[r].y, fmaf(w.x, v[r].x, sum))));
          }
        }
      });
    }
  }

  // Gives each lane the sums of its unit and row: lane = unit * kRows + row.
  RNNFAST_DEVICE void gather(Scalar (&sums)[SlabProduct::kSums]) {
    const float sum = sum_across(values);
    const int lane = threadIdx.x % 32, unit = lane / Layout::kRows % Layout::kUnits;
#pragma unroll
    for (int s = 0; s < SlabProduct::kSums; ++s)
      sums[s] = Scalar(__shfl_sync(
          0xffffffffu, sum, (unit * Layout::kPadded + s) * Layout::kRows + lane % Layout::kRows));
  }
};

// Multiplies the slabs, where `slab(i)` returns a slab's first row and `stride` is the row stride,
// and calls element(unit, b, sums) for each unit of each sequence. All threads of the block must
// call it, with a barrier between two calls.
template <class SlabProduct, class Slab, class Element>
RNNFAST_DEVICE void fma_product(const FmaSlice& slice, const FmaShared& shared, const Slab& slab,
                                Index stride, const Element& element) {
  using Sums = FmaSums<SlabProduct>;
  using Layout = typename Sums::Layout;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, depth = slice.depth();
  const int chunks = divide_up(slice.rows, Layout::kRows);
  const int rounds = divide_up(slice.units, kWarps * Layout::kUnits);
  const auto stage = [&](int turn, int which) {
    const int row = turn % chunks * Layout::kRows;
    stage_slab(shared.slabs + (turn * SlabProduct::kSlabs + which) % 2 * kFmaRows * depth, depth,
               slab(which) + (slice.first_row + row) * stride, stride,
               min(Layout::kRows, slice.rows - row), slice.hidden);
  };
  stage(0, 0);
  for (int turn = 0; turn < rounds * chunks; ++turn) {
    const int unit = (turn / chunks * kWarps + warp) * Layout::kUnits;
    Sums sums;
    for_each_index<SlabProduct::kSlabs>([&]<int kSlab>() {
      copy_wait<0>();
      __syncthreads();
      if constexpr (kSlab + 1 < SlabProduct::kSlabs)
        stage(turn, kSlab + 1);
      else if (turn + 1 < rounds * chunks)
        stage(turn + 1, 0);
      if (unit < slice.units)
        sums.template add<kSlab>(
            shared, slice, unit,
            shared.slabs + (turn * SlabProduct::kSlabs + kSlab) % 2 * kFmaRows * depth);
    });
    if (unit >= slice.units) continue;
    Scalar result[SlabProduct::kSums];
    sums.gather(result);
    const int u = unit + lane / Layout::kRows,
              row = turn % chunks * Layout::kRows + lane % Layout::kRows;
    if (lane < Layout::kUnits * Layout::kRows && u < slice.units && row < slice.rows)
      element(slice.first_unit + u, slice.first_row + row, result);
  }
}

}  // namespace rnnfast::cuda
