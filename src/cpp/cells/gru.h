#pragma once
// Gated recurrent unit with the reset gate after the product (Cho et al. 2014, version 1; cuDNN,
// PyTorch).
//   r = sigmoid(x_r + h_r)         z = sigmoid(x_z + h_z)
//   n = tanh(x_n + r * h_n)        h' = n + z * (h - n)
#include "cells/cell.h"

namespace rnnfast {

struct Gru {
  static constexpr CellInfo info{
      .name = "gru", .states = 1, .gates = 3, .saved = 4, .additive = false};
  enum Slot { kR, kZ, kN, kHn };

  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V*, const V* s, V* s_new,
                                     V* save) {
    const V r = sigmoid(x[kR] + h[kR]), z = sigmoid(x[kZ] + h[kZ]);
    const V n = tanh(x[kN] + r * h[kN]);
    s_new[0] = n + z * (s[0] - n);
    save[kR] = r;
    save[kZ] = z;
    save[kN] = n;
    save[kHn] = h[kN];
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V* save, const V*, const V* s, const V*,
                                      const V* ds_new, V* dx, V* dh, V*, V* ds) {
    const V r = save[kR], z = save[kZ], n = save[kN], d = ds_new[0];
    dx[kN] = d * (V(1) - z) * dtanh(n);
    dh[kN] = dx[kN] * r;
    dx[kR] = dh[kR] = dx[kN] * save[kHn] * dsigmoid(r);
    dx[kZ] = dh[kZ] = d * (s[0] - n) * dsigmoid(z);
    ds[0] = d * z;
  }
};

}  // namespace rnnfast
