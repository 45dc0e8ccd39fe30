#pragma once
// MUT3 (Jozefowicz, Zaremba and Sutskever 2015): z's recurrent product multiplies tanh(h), not h.
//   z = sigmoid(x_z + W_z tanh(h))     r = sigmoid(x_r + W_r h)
//   n = tanh(x_n + W_n (r * h))        h' = h + z * (n - h)
// Row blocks in the order r, z, n.
#include "cells/reset_stage.h"

namespace rnnfast {

struct Mut3 : ResetStage {
  static constexpr CellInfo info{
      .name = "mut3",
      .gates = 3,
      .opens = true,
      .stages = {
          {.values = 1},  // tanh(h)
          {.gates = {kR, 2},
           .products = {{state(0), {kR, 1}}, {value(0), {kZ, 1}}},
           .values = 1,
           .saved = 2},
          {.gates = {kN, 1}, .products = {{value(1), {kN, 1}}}, .saved = 1, .sees = {kZ, 1}}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    if constexpr (kStage == 0) {
      e.made[0] = tanh(e.s[0]);
    } else if constexpr (kStage == 1) {
      ResetStage::forward(e);
    } else {
      const V z = e.kept[kZ], n = e.save[0] = tanh(e.a[0]);
      e.next[0] = e.s[0] + z * (n - e.s[0]);
    }
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    if constexpr (kStage == 0) {
      e.ds[0] = e.ds[0] + e.dmade[0] * dtanh(tanh(e.s[0]));
    } else if constexpr (kStage == 1) {
      ResetStage::backward(e);
    } else {
      const V z = e.kept[kZ], n = e.save[0], d = e.dnext[0];
      e.da[0] = d * z * dtanh(n);
      e.dkept[kZ] = d * (n - e.s[0]);
      e.ds[0] = d * (V(1) - z);
    }
  }
};

}  // namespace rnnfast
