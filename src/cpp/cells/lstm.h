#pragma once
// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al.
// 2000).
//   i, f, o = sigmoid(x + W h)     g = tanh(x + W h)
//   c' = f * c + i * g             h' = o * tanh(c')
// With peepholes (Gers et al. 2002) i and f also see p * c, and o sees p * c'.
#include "cells/cell.h"

namespace rnnfast {

template <bool kPeephole>
struct LstmFamily {
  enum Gate { kI, kF, kG, kO };
  enum State { kH, kC };
  enum Param { kPi, kPf, kPo };
  static constexpr CellInfo info{
      .name = kPeephole ? "peephole_lstm" : "lstm",
      .states = 2,
      .gates = 4,
      .params = kPeephole ? 3 : 0,
      .projects = true,
      .stages = {{.gates = {kI, 4}, .products = {{state(kH), {kI, 4}}}, .saved = 4}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    V ai = e.a[kI], af = e.a[kF], ao = e.a[kO];
    if constexpr (kPeephole) {
      ai = ai + e.p[kPi] * e.s[kC];
      af = af + e.p[kPf] * e.s[kC];
    }
    const V i = sigmoid(ai), f = sigmoid(af), g = tanh(e.a[kG]);
    const V c = f * e.s[kC] + i * g;
    if constexpr (kPeephole) ao = ao + e.p[kPo] * c;
    const V o = sigmoid(ao);
    e.next[kH] = o * tanh(c);
    e.next[kC] = c;
    e.save[kI] = i;
    e.save[kF] = f;
    e.save[kG] = g;
    e.save[kO] = o;
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    const V i = e.save[kI], f = e.save[kF], g = e.save[kG], o = e.save[kO];
    const V tc = tanh(e.next[kC]);
    const V dao = e.dnext[kH] * tc * dsigmoid(o);
    V dc = e.dnext[kC] + e.dnext[kH] * o * dtanh(tc);
    if constexpr (kPeephole) dc = dc + e.p[kPo] * dao;
    const V dai = dc * g * dsigmoid(i), daf = dc * e.s[kC] * dsigmoid(f);
    e.da[kI] = dai;
    e.da[kF] = daf;
    e.da[kG] = dc * i * dtanh(g);
    e.da[kO] = dao;
    e.ds[kH] = V(0);
    e.ds[kC] = dc * f;
    e.made[kH] = o * tc;
    if constexpr (kPeephole) {
      e.ds[kC] = e.ds[kC] + e.p[kPi] * dai + e.p[kPf] * daf;
      e.dp[kPi] = dai * e.s[kC];
      e.dp[kPf] = daf * e.s[kC];
      e.dp[kPo] = dao * e.next[kC];
    }
  }
};

using Lstm = LstmFamily<false>;
using PeepholeLstm = LstmFamily<true>;

}  // namespace rnnfast
