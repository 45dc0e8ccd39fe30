#pragma once
// The products of a cell as a driver takes them. A pass multiplies *slabs*, matrices (B, H) that
// are staged one after the other, with blocks of weight_hh, and makes some *sums* for each hidden
// unit of each sequence. Forward slabs are operands and the sums gates; backward slabs are
// gradients of gates and the sums gradients of operands.

#include "cells/cell.h"

namespace rnnfast::cuda {

template <class Cell>
RNNFAST_INLINE constexpr int operand_of(int gate) {
  int operand = 0;
  for (int first = Cell::info.operand_gates(0); gate >= first;
       first += Cell::info.operand_gates(operand))
    ++operand;
  return operand;
}

// The row block of weight_hh between a slab and a sum; -1: none.
template <class CellType>
struct ForwardFirst {
  using Cell = CellType;
  static constexpr bool kTransposed = false, kIsFirst = true;
  static constexpr int kSlabs = Cell::info.operands, kSums = Cell::info.h_gates();
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    return operand_of<Cell>(sum) == slab ? sum : -1;
  }
};
template <class CellType>
struct ForwardSecond {
  using Cell = CellType;
  static constexpr bool kTransposed = false, kIsFirst = false;
  static constexpr int kSlabs = 1, kSums = Cell::info.second_gates;
  RNNFAST_INLINE static constexpr int gate(int, int sum) { return Cell::info.h_gates() + sum; }
};
template <class CellType>
struct BackwardFirst {
  using Cell = CellType;
  static constexpr bool kTransposed = true, kIsFirst = true;
  static constexpr int kSlabs = Cell::info.h_gates(), kSums = Cell::info.operands;
  RNNFAST_INLINE static constexpr int gate(int slab, int sum) {
    return operand_of<Cell>(slab) == sum ? slab : -1;
  }
};
template <class CellType>
struct BackwardSecond {
  using Cell = CellType;
  static constexpr bool kTransposed = true, kIsFirst = false;
  static constexpr int kSlabs = Cell::info.second_gates, kSums = 1;
  RNNFAST_INLINE static constexpr int gate(int slab, int) { return Cell::info.h_gates() + slab; }
};

}  // namespace rnnfast::cuda
