#pragma once
// Gated recurrent unit with the reset gate after the product (Cho et al. 2014, version 1; cuDNN,
// PyTorch).
//   r = sigmoid(x_r + h_r)         z = sigmoid(x_z + h_z)
//   n = tanh(x_n + r * h_n)        h' = n + z * (h - n)
#include "cells/cell.h"

namespace rnnfast {

struct Gru {
  enum Slot { kR, kZ, kN, kHn };
  static constexpr CellInfo info{
      .name = "gru",
      .gates = 3,
      .stages = {{.gates = {kR, 3}, .products = {{state(0), {kR, 3}}}, .saved = 4, .split = true}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    const V *x = e.x, *h = e.h;
    const V r = sigmoid(x[kR] + h[kR]), z = sigmoid(x[kZ] + h[kZ]);
    const V n = tanh(x[kN] + r * h[kN]);
    e.next[0] = n + z * (e.s[0] - n);
    e.save[kR] = r;
    e.save[kZ] = z;
    e.save[kN] = n;
    e.save[kHn] = h[kN];
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    const V r = e.save[kR], z = e.save[kZ], n = e.save[kN], d = e.dnext[0];
    e.dx[kN] = d * (V(1) - z) * dtanh(n);
    e.dh[kN] = e.dx[kN] * r;
    e.dx[kR] = e.dh[kR] = e.dx[kN] * e.save[kHn] * dsigmoid(r);
    e.dx[kZ] = e.dh[kZ] = d * (e.s[0] - n) * dsigmoid(z);
    e.ds[0] = d * z;
  }
};

}  // namespace rnnfast
