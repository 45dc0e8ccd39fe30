#pragma once
// MUT3 (Jozefowicz, Zaremba and Sutskever 2015): z's recurrent product multiplies tanh(h), not h.
//   z = sigmoid(x_z + W_z tanh(h))     r = sigmoid(x_r + W_r h)
//   n = tanh(x_n + W_n (r * h))        h' = h + z * (n - h)
// Row blocks in the order r, z, n.
#include "cells/cell.h"
#include "cells/gru_reset_before.h"

namespace rnnfast {

struct Mut3 : ResetOperand {
  static constexpr CellInfo info{.name = "mut3",
                                 .states = 1,
                                 .gates = 3,
                                 .second_gates = 1,
                                 .saved = 3,
                                 .operands = 2,
                                 .first_gates = {1, 1}};

  template <class V>
  static RNNFAST_INLINE void publish(const V* s, V* v) {
    v[1] = tanh(s[0]);
  }
  template <class V>
  static RNNFAST_INLINE void publish_backward(const V* s, const V* dv, V* ds) {
    ds[0] = ds[0] + dv[1] * dtanh(tanh(s[0]));
  }
  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V*, const V* s, V* s_new,
                                     V* save) {
    const V z = save[kZ], n = tanh(x[kN] + h[kN]);
    s_new[0] = s[0] + z * (n - s[0]);
    save[kN] = n;
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V* save, const V*, const V* s, const V*,
                                      const V* ds_new, V* dx, V* dh, V*, V* ds) {
    const V z = save[kZ], n = save[kN], d = ds_new[0];
    dx[kN] = dh[kN] = d * z * dtanh(n);
    dx[kZ] = dh[kZ] = d * (n - s[0]) * dsigmoid(z);
    ds[0] = d * (V(1) - z);
  }
};

}  // namespace rnnfast
