#pragma once
// Vanilla recurrent networks (Elman 1990).
//   h' = tanh(x + W h)   or   h' = max(0, x + W h)
#include "cells/cell.h"

namespace rnnfast {

struct RnnTanh {
  static constexpr CellInfo info{.name = "rnn_tanh",
                                 .gates = 1,
                                 .stages = {{.gates = {0, 1}, .products = {{state(0), {0, 1}}}}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    e.next[0] = tanh(e.a[0]);
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    e.da[0] = e.dnext[0] * dtanh(e.next[0]);
    e.ds[0] = V(0);
  }
};

struct RnnRelu {
  static constexpr CellInfo info{.name = "rnn_relu",
                                 .gates = 1,
                                 .stages = {{.gates = {0, 1}, .products = {{state(0), {0, 1}}}}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    e.next[0] = relu(e.a[0]);
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    e.da[0] = where_positive(e.next[0], e.dnext[0]);
    e.ds[0] = V(0);
  }
};

}  // namespace rnnfast
