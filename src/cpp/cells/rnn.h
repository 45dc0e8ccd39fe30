#pragma once
// Vanilla recurrent networks (Elman 1990).
//   h' = tanh(x + W h)   or   h' = max(0, x + W h)
#include "cells/cell.h"

namespace rnnfast {

struct RnnTanh {
  static constexpr CellInfo info{.name = "rnn_tanh", .states = 1, .gates = 1};

  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V*, const V*, V* s_new, V*) {
    s_new[0] = tanh(x[0] + h[0]);
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V*, const V*, const V*, const V* s_new, const V* ds_new,
                                      V* dx, V* dh, V*, V* ds) {
    dx[0] = dh[0] = ds_new[0] * dtanh(s_new[0]);
    ds[0] = V(0);
  }
};

struct RnnRelu {
  static constexpr CellInfo info{.name = "rnn_relu", .states = 1, .gates = 1};

  template <class V>
  static RNNFAST_INLINE void forward(const V* x, const V* h, const V*, const V*, V* s_new, V*) {
    s_new[0] = relu(x[0] + h[0]);
  }
  template <class V>
  static RNNFAST_INLINE void backward(const V*, const V*, const V*, const V* s_new, const V* ds_new,
                                      V* dx, V* dh, V*, V* ds) {
    dx[0] = dh[0] = where_positive(s_new[0], ds_new[0]);
    ds[0] = V(0);
  }
};

}  // namespace rnnfast
