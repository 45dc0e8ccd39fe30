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
  static constexpr CellInfo info{.name = kPeephole ? "peephole_lstm" : "lstm",
                                 .states = 2,
                                 .gates = 4,
                                 .saved = 4,
                                 .params = kPeephole ? 3 : 0};
  enum Gate { kI, kF, kG, kO };
  enum State { kH, kC };
  enum Param { kPi, kPf, kPo };

  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V* p, const V* s, V* s_new,
                                     V* save) {
    V ai = x[kI] + h[kI], af = x[kF] + h[kF], ao = x[kO] + h[kO];
    if constexpr (kPeephole) {
      ai = ai + p[kPi] * s[kC];
      af = af + p[kPf] * s[kC];
    }
    const V i = sigmoid(ai), f = sigmoid(af), g = tanh(x[kG] + h[kG]);
    const V c = f * s[kC] + i * g;
    if constexpr (kPeephole) ao = ao + p[kPo] * c;
    const V o = sigmoid(ao);
    s_new[kH] = o * tanh(c);
    s_new[kC] = c;
    save[kI] = i;
    save[kF] = f;
    save[kG] = g;
    save[kO] = o;
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V* save, const V* p, const V* s, const V* s_new,
                                      const V* ds_new, V* dx, V* dh, V* dp, V* ds) {
    const V i = save[kI], f = save[kF], g = save[kG], o = save[kO], tc = tanh(s_new[kC]);
    const V dao = ds_new[kH] * tc * dsigmoid(o);
    V dc = ds_new[kC] + ds_new[kH] * o * dtanh(tc);
    if constexpr (kPeephole) dc = dc + p[kPo] * dao;
    const V dai = dc * g * dsigmoid(i), daf = dc * s[kC] * dsigmoid(f);
    dx[kI] = dh[kI] = dai;
    dx[kF] = dh[kF] = daf;
    dx[kG] = dh[kG] = dc * i * dtanh(g);
    dx[kO] = dh[kO] = dao;
    ds[kH] = V(0);
    ds[kC] = dc * f;
    if constexpr (kPeephole) {
      ds[kC] = ds[kC] + p[kPi] * dai + p[kPf] * daf;
      dp[kPi] = dai * s[kC];
      dp[kPf] = daf * s[kC];
      dp[kPo] = dao * s_new[kC];
    }
  }
};

using Lstm = LstmFamily<false>;
using PeepholeLstm = LstmFamily<true>;

}  // namespace rnnfast
