#pragma once
// The arrays in device memory that hold what the products multiply: for the blocks that read them
// during the loop, and for the weight gradients after it.

#include "cuda/element.cuh"

namespace rnnfast::cuda {

template <class Cell>
struct ForwardArrays {
  static constexpr CellInfo info = Cell::info;

  const ForwardArgs& args;

  // First row of an operand, by its number: of h and an opening stage's values, in a slot, of
  // others in a step.
  RNNFAST_DEVICE float* operand(int number, int at) const {
    return args.operand(info.opening_values(), number, at);
  }
  // Of what a stage multiplies in step t.
  template <int kStage>
  RNNFAST_DEVICE float* slab(int i, int t) const {
    float* found = nullptr;
    for_each_index<kMultiplied<Cell, kStage>.slabs>([&]<int kSlab>() {
      constexpr int number = kMultiplied<Cell, kStage>.operand[kSlab];
      constexpr bool in_slots = number <= info.opening_values();
      if (i == kSlab) found = operand(number, in_slots ? args.size.before(t) : t);
    });
    return found;
  }
  template <int kStage, int kCount>
  RNNFAST_DEVICE void store_operands(int at, int b, int unit, const Scalar (&v)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kHandedOn<Cell, kStage>; ++i)
      operand(kFirstHandedOn<Cell, kStage> + i, at)[args.size.row(b) + unit] = v[i].value;
  }
};

template <class Cell>
struct BackwardArrays {
  static constexpr CellInfo info = Cell::info;

  const BackwardArgs& args;

  // First row of the gradients of the i-th gate that a stage multiplies, in step t.
  template <int kStage>
  RNNFAST_DEVICE float* gate(int i, int t) const {
    float* found = nullptr;
    for_each_index<kMultiplied<Cell, kStage>.sums>([&]<int kSum>() {
      constexpr int gate = kMultiplied<Cell, kStage>.gate[kSum];
      if (i == kSum) found = args.gate(info.gates, gate, t);
    });
    return found;
  }
  // From a sequence's gradients to the next's.
  RNNFAST_DEVICE long stride() const { return long(info.gates) * args.size.hidden; }

  template <int kStage, int kCount>
  RNNFAST_DEVICE void store_gates(int t, int b, int unit, const Scalar (&dh)[kCount]) const {
    for_each_index<kMultiplied<Cell, kStage>.sums>([&]<int i>() {
      constexpr int gate = kMultiplied<Cell, kStage>.gate[i];
      args.gate(info.gates, gate, t)[b * stride() + unit] = dh[i].value;
    });
  }
};

}  // namespace rnnfast::cuda
