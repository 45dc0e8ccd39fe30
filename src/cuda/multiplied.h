#pragma once
// The operands that the stages of a step multiply, derived from a cell's products, for kernels,
// plan and host code. Operands are numbered across the cell: 0 is h, 1 + i is value i.

#include "cells/cell.h"

namespace rnnfast::cuda {

// The products of a stage. They multiply *slabs*, (B, H) matrices of one operand each, into sums,
// each the recurrent part of a gate.
struct Multiplied {
  int slabs = 0, sums = 0;
  int operand[kMaxProducts] = {};  // of each slab
  int gate[kMaxGates] = {};        // of each sum
  int slab[kMaxGates] = {};        // of each sum

  Multiplied() = default;
  RNNFAST_INLINE constexpr Multiplied(const CellInfo& info, int stage) {
    for (int p = 0; p < info.stages[stage].size(); ++p) {
      const Product& product = info.stages[stage].products[p];
      const int number = product.operand.from == Operand::kState ? 0 : 1 + product.operand.index;
      int at = slab_of(number);
      if (at < 0) operand[at = slabs++] = number;
      for (int g = product.gates.first; g < product.gates.end(); ++g) {
        gate[sums] = g;
        slab[sums++] = at;
      }
    }
  }
  // An operand's slab, or -1 if it is not multiplied.
  RNNFAST_INLINE constexpr int slab_of(int number) const {
    for (int i = 0; i < slabs; ++i)
      if (operand[i] == number) return i;
    return -1;
  }
};

// The stage that computes an operand: h and an opening stage's values come from the end of a step.
RNNFAST_INLINE constexpr int maker_of(const CellInfo& info, int operand) {
  if (operand <= info.opening_values()) return info.last();
  int stage = info.first();
  while (operand - 1 >= info.first_value(stage + 1)) ++stage;
  return stage;
}
RNNFAST_INLINE constexpr int stage_after(const CellInfo& info, int stage) {
  return stage == info.last() ? info.first() : stage + 1;
}
// The last stage that multiplies an operand, or -1.
RNNFAST_INLINE constexpr int last_product_of(const CellInfo& info, int operand) {
  for (int k = info.last(); k >= info.first(); --k)
    if (Multiplied(info, k).slab_of(operand) >= 0) return k;
  return -1;
}
// Whether an operand is multiplied later than in the stage right after its maker. In the backward
// pass, such an operand's gradient must be stored until its maker runs.
RNNFAST_INLINE constexpr bool waits(const CellInfo& info, int operand) {
  const int last = last_product_of(info, operand);
  return last >= 0 && last != stage_after(info, maker_of(info, operand));
}
// How many of the first `operands` wait.
RNNFAST_INLINE constexpr int waiting(const CellInfo& info, int operands) {
  int n = 0;
  for (int i = 0; i < operands; ++i) n += waits(info, i);
  return n;
}
RNNFAST_INLINE constexpr int waiting(const CellInfo& info) {
  return waiting(info, 1 + info.values());
}

// The most that any stage has of `what`; and whether each stage has products.
RNNFAST_INLINE constexpr int most(const CellInfo& info, int Multiplied::* what) {
  int n = 0;
  for (int k = info.first(); k < info.size(); ++k) {
    const Multiplied stage(info, k);
    n = stage.*what > n ? stage.*what : n;
  }
  return n;
}
RNNFAST_INLINE constexpr bool always_multiplies(const CellInfo& info) {
  for (int k = info.first(); k < info.size(); ++k)
    if (Multiplied(info, k).sums == 0) return false;
  return true;
}
RNNFAST_INLINE constexpr int product_stages(const CellInfo& info) {
  int n = 0;
  for (int k = info.first(); k < info.size(); ++k) n += Multiplied(info, k).sums > 0;
  return n;
}

}  // namespace rnnfast::cuda
