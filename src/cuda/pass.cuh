#pragma once
// The products of a stage as a driver takes them. A pass multiplies *slabs*, matrices (B, H) that
// are staged one after the other, with blocks of weight_hh, and makes some *sums* for each hidden
// unit of each sequence. Forward slabs are operands and the sums gates; backward slabs are
// gradients of gates and the sums gradients of operands.

#include "cells/cell.h"

namespace rnnfast::cuda {

// `gate` is the row block of weight_hh between a slab and a sum; -1: none.
template <class CellType, int kStage>
struct ForwardPass {
  using Cell = CellType;
  static constexpr Stage stage = Cell::info.stages[kStage];
  static constexpr bool kTransposed = false, kIsFirst = kStage == Cell::info.first();
  static constexpr int kSlabs = stage.size(), kSums = stage.gates.count;
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    const int gate = stage.gates.first + sum;
    return stage.products[slab].gates.has(gate) ? gate : -1;
  }
};
template <class CellType, int kStage>
struct BackwardPass {
  using Cell = CellType;
  static constexpr Stage stage = Cell::info.stages[kStage];
  static constexpr bool kTransposed = true, kIsFirst = kStage == Cell::info.first();
  static constexpr int kSlabs = stage.gates.count, kSums = stage.size();
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    const int gate = stage.gates.first + slab;
    return stage.products[sum].gates.has(gate) ? gate : -1;
  }
};

}  // namespace rnnfast::cuda
