#pragma once
// Gated recurrent unit with the reset gate before the product (Cho et al. 2014, version 3).
//   r = sigmoid(x_r + W_r h)       z = sigmoid(x_z + W_z h)
//   n = tanh(x_n + W_n (r * h))    h' = n + z * (h - n)
#include "cells/reset_stage.h"

namespace rnnfast {

struct GruResetBefore : ResetStage {
  static constexpr CellInfo info{
      .name = "gru_reset_before",
      .gates = 3,
      .stages = {
          {.gates = {kR, 2}, .products = {{state(0), {kR, 2}}}, .values = 1, .saved = 2},
          {.gates = {kN, 1}, .products = {{value(0), {kN, 1}}}, .saved = 1, .sees = {kZ, 1}}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    if constexpr (kStage == 0) return ResetStage::forward(e);
    const V z = e.kept[kZ], n = e.save[0] = tanh(e.a[0]);
    e.next[0] = n + z * (e.s[0] - n);
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    if constexpr (kStage == 0) return ResetStage::backward(e);
    const V z = e.kept[kZ], n = e.save[0], d = e.dnext[0];
    e.da[0] = d * (V(1) - z) * dtanh(n);
    e.dkept[kZ] = d * (e.s[0] - n);
    e.ds[0] = d * z;
  }
};

}  // namespace rnnfast
