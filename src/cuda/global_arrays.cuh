#pragma once
// The arrays in device memory that hold the products' operands, for the blocks that read them
// during the loop and for the weight gradients after it.

#include "cuda/element.cuh"

namespace rnnfast::cuda {

template <class Cell>
struct ForwardArrays {
  static constexpr CellInfo info = Cell::info;

  const ForwardArgs& args;

  // The first row of an operand, by its number: at a slot for h and an opening stage's values, at a
  // step for others.
  RNNFAST_DEVICE float* operand(int number, int at) const {
    return args.operand(info.opening_values(), number, at);
  }
  // The first row of a stage's i-th slab in step t.
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
    for (int i = 0; i < kPassedOn<Cell, kStage>; ++i)
      operand(kFirstPassedOn<Cell, kStage> + i, at)[args.size.row(b) + unit] = v[i].value;
  }
};

template <class Cell>
struct BackwardArrays {
  static constexpr CellInfo info = Cell::info;

  const BackwardArgs& args;

  // The first row of the gradients of the i-th gate that a stage multiplies, in step t.
  template <int kStage>
  RNNFAST_DEVICE float* gate(int i, int t) const {
    float* found = nullptr;
    for_each_index<kMultiplied<Cell, kStage>.sums>([&]<int kSum>() {
      constexpr int gate = kMultiplied<Cell, kStage>.gate[kSum];
      if (i == kSum) found = args.gate(info.gates, gate, t);
    });
    return found;
  }
  // The stride from a sequence's gradients to the next sequence's.
  RNNFAST_DEVICE Index stride() const { return Index(info.gates) * args.size.hidden; }

  template <int kStage, int kCount>
  RNNFAST_DEVICE void store_gates(int t, int b, int unit, const Scalar (&dh)[kCount]) const {
    for_each_index<kMultiplied<Cell, kStage>.sums>([&]<int i>() {
      constexpr int gate = kMultiplied<Cell, kStage>.gate[i];
      args.gate(info.gates, gate, t)[b * stride() + unit] = dh[i].value;
    });
  }
};

}  // namespace rnnfast::cuda
