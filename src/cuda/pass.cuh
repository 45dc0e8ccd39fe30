#pragma once
// The products of a stage as the drivers run them. A pass multiplies *slabs*, (B, H) matrices that
// are staged one after another, by blocks of weight_hh, and computes *sums* for each hidden unit of
// each sequence. Forward slabs are operands and the sums gates; backward slabs are gradients of
// gates and the sums gradients of operands.

#include "cuda/multiplied.h"

namespace rnnfast::cuda {

// `gate` is the row block of weight_hh between a slab and a sum; -1: none.
template <class CellType, int kStage>
struct ForwardPass {
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
struct BackwardPass {
  using Cell = CellType;
  static constexpr Multiplied multiplied{Cell::info, kStage};
  static constexpr bool kTransposed = true, kIsFirst = kStage == Cell::info.first();
  static constexpr int kSlabs = multiplied.sums, kSums = multiplied.slabs;
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    return ForwardPass<Cell, kStage>::gate(sum, slab);
  }
};

}  // namespace rnnfast::cuda
