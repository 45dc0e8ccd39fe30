#pragma once
// Gated recurrent unit with the reset gate before the product (Cho et al. 2014, version 3).
//   r = sigmoid(x_r + W_r h)       z = sigmoid(x_z + W_z h)
//   n = tanh(x_n + W_n (r * h))    h' = n + z * (h - n)
#include "cells/cell.h"

namespace rnnfast {

// The first stage of a cell whose second product multiplies r * h, with gates r and z as its slots.
struct ResetOperand {
  enum Slot { kR, kZ, kN };

  template <class V>
  static RNNFAST_INLINE void operand(const V* x, const V* h, const V*, const V* s, V* q, V* save) {
    const V r = sigmoid(x[kR] + h[kR]);
    q[0] = r * s[0];
    save[kR] = r;
    save[kZ] = sigmoid(x[kZ] + h[kZ]);
  }
  template <class V>
  static RNNFAST_INLINE void operand_backward(const V* save, const V*, const V* s, const V* dq,
                                              V* q, V* dx, V* dh, V*, V* ds) {
    const V r = save[kR];
    q[0] = r * s[0];
    dx[kR] = dh[kR] = dq[0] * s[0] * dsigmoid(r);
    ds[0] = ds[0] + dq[0] * r;
  }
};

struct GruResetBefore : ResetOperand {
  static constexpr CellInfo info{
      .name = "gru_reset_before", .states = 1, .gates = 3, .second_gates = 1, .saved = 3};

  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V*, const V* s, V* s_new,
                                     V* save) {
    const V z = save[kZ], n = tanh(x[kN] + h[kN]);
    s_new[0] = n + z * (s[0] - n);
    save[kN] = n;
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V* save, const V*, const V* s, const V*,
                                      const V* ds_new, V* dx, V* dh, V*, V* ds) {
    const V z = save[kZ], n = save[kN], d = ds_new[0];
    dx[kN] = dh[kN] = d * (V(1) - z) * dtanh(n);
    dx[kZ] = dh[kZ] = d * (s[0] - n) * dsigmoid(z);
    ds[0] = d * z;
  }
};

}  // namespace rnnfast
