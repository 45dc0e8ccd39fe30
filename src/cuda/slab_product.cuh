#pragma once
// The products of a stage as the drivers run them. A slab product multiplies *slabs*, (B, H)
// matrices that are staged one after another, by blocks of weight_hh, and computes *sums* for each
// hidden unit of each sequence. Forward, slabs are operands and sums are gates; backward, slabs are
// gradients of gates and sums are gradients of operands.

#include "cuda/multiplied.h"

namespace rnnfast::cuda {

// `gate` is the row block of weight_hh by which a slab is multiplied for a sum; -1: none.
template <class CellType, int kStage>
struct ForwardSlabProduct {
  using Cell = CellType;
  static constexpr Multiplied multiplied{Cell::info, kStage};
  static constexpr bool kTransposed = false, kIsFirst = kStage == Cell::info.first();
  static constexpr int kSlabs = multiplied.slabs, kSums = multiplied.sums;
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    const int gate = multiplied.gate[sum];
    return multiplied.slab[sum] == slab ? Cell::info.recurrent.of(gate) : -1;
  }
};
template <class CellType, int kStage>
struct BackwardSlabProduct {
  using Cell = CellType;
  static constexpr Multiplied multiplied{Cell::info, kStage};
  static constexpr bool kTransposed = true, kIsFirst = kStage == Cell::info.first();
  static constexpr int kSlabs = multiplied.sums, kSums = multiplied.slabs;
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    return ForwardSlabProduct<Cell, kStage>::gate(sum, slab);
  }
};

}  // namespace rnnfast::cuda
