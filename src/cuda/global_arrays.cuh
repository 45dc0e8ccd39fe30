#pragma once
// The arrays in device memory that hold what the products multiply: for the blocks that read them
// during the loop, and for the weight gradients after it.

#include "cuda/recurrent.h"
#include "cuda/scalar.cuh"

namespace rnnfast::cuda {

template <class Cell>
struct ForwardArrays {
  const ForwardArgs& args;

  // First row of operand o in a slot.
  RNNFAST_DEVICE float* operand(int o, int slot) const {
    return o == 0 ? args.states + args.size.row(0, slot, 0)
                  : args.operands + args.size.row(o - 1, slot, 0);
  }
  RNNFAST_DEVICE float* second(int t) const { return args.second + args.size.row(t, 0); }

  RNNFAST_DEVICE void store_operands(int slot, int b, int unit,
                                     const Scalar (&v)[Cell::info.operands]) const {
#pragma unroll
    for (int o = 0; o < Cell::info.operands; ++o)
      operand(o, slot)[args.size.row(b) + unit] = v[o].value;
  }
  RNNFAST_DEVICE void store_second(int t, int b, int unit, Scalar q) const {
    second(t)[args.size.row(b) + unit] = q.value;
  }
};

template <class Cell>
struct BackwardArrays {
  const BackwardArgs& args;

  // First row of a gate's gradients in step t.
  RNNFAST_DEVICE float* gate(int gate, int t) const {
    return args.dgates_h + args.size.row(t, 0) * Cell::info.gates + long(gate) * args.size.hidden;
  }
  // From a sequence's gradients to the next's.
  RNNFAST_DEVICE long stride() const { return long(Cell::info.gates) * args.size.hidden; }

  template <int kFirst, int kEnd>
  RNNFAST_DEVICE void store_gates(int t, int b, int unit,
                                  const Scalar (&dh)[Cell::info.gates]) const {
#pragma unroll
    for (int g = kFirst; g < kEnd; ++g) gate(g, t)[b * stride() + unit] = dh[g].value;
  }
};

}  // namespace rnnfast::cuda
