#pragma once
// The arrays in device memory that hold what the products multiply: for the blocks that read them
// during the loop, and for the weight gradients after it.

#include "cuda/recurrent.h"
#include "cuda/scalar.cuh"

namespace rnnfast::cuda {

template <class Cell>
struct ForwardArrays {
  static constexpr CellInfo info = Cell::info;

  const ForwardArgs& args;

  // First row of operand i that a stage hands on in step t; of the last stage, to the step that
  // begins with that slot.
  template <int kStage>
  RNNFAST_DEVICE float* operand(int i, int at) const {
    const CallSize& size = args.size;
    if constexpr (kStage == info.last()) {
      return i == 0 ? args.states + size.row(0, at, 0) : args.openings + size.row(i - 1, at, 0);
    } else {
      constexpr int first = info.first_value(kStage) - info.opening_values();
      return args.values + size.row((first + i) * size.steps + at, 0);
    }
  }
  template <int kStage, int kCount>
  RNNFAST_DEVICE void store_operands(int at, int b, int unit, const Scalar (&v)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) operand<kStage>(i, at)[args.size.row(b) + unit] = v[i].value;
  }
};

template <class Cell>
struct BackwardArrays {
  static constexpr CellInfo info = Cell::info;

  const BackwardArgs& args;

  // First row of the gradients of a stage's gate in step t.
  template <int kStage>
  RNNFAST_DEVICE float* gate(int gate, int t) const {
    constexpr int first = info.stages[kStage].gates.first;
    return args.dgates_h + args.size.row(t, 0) * info.gates + long(first + gate) * args.size.hidden;
  }
  // From a sequence's gradients to the next's.
  RNNFAST_DEVICE long stride() const { return long(info.gates) * args.size.hidden; }

  template <int kStage, int kCount>
  RNNFAST_DEVICE void store_gates(int t, int b, int unit, const Scalar (&dh)[kCount]) const {
#pragma unroll
    for (int g = 0; g < kCount; ++g) gate<kStage>(g, t)[b * stride() + unit] = dh[g].value;
  }
};

}  // namespace rnnfast::cuda
