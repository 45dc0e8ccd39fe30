#pragma once
// The cell found by neural architecture search (Zoph and Le 2017), in the form of its authors'
// TensorFlow code: eight gates, all additive but gate 3, whose two parts are multiplied.
//   l0 = sigmoid(x0 + h0)  l1 = relu(x1 + h1)  l2 = sigmoid(x2 + h2)     l3 = relu(x3 * h3)
//   l4 = tanh(x4 + h4)     l5 = sigmoid(x5 + h5)  l6 = tanh(x6 + h6)     l7 = sigmoid(x7 + h7)
//   a = tanh(tanh(l0 * l1) + c)   b = tanh(l2 + l3)
//   k = tanh(l4 * l5)             f = sigmoid(l6 + l7)
//   c' = a * b                    h' = tanh(c' * tanh(k + f))
#include "cells/cell.h"

namespace rnnfast {

struct Nas {
  enum State { kH, kC };
  enum Slot { kX3 = 3, kH3 = 8 };
  static constexpr CellInfo info{
      .name = "nas",
      .states = 2,
      .gates = 8,
      .stages = {{.gates = {0, 8}, .products = {{state(kH), {0, 8}}}, .saved = 9, .split = true}}};

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    const V *x = e.x, *h = e.h;
    V* save = e.save;
    const V l0 = sigmoid(x[0] + h[0]), l1 = relu(x[1] + h[1]), l2 = sigmoid(x[2] + h[2]);
    const V l3 = relu(x[3] * h[3]), l4 = tanh(x[4] + h[4]), l5 = sigmoid(x[5] + h[5]);
    const V l6 = tanh(x[6] + h[6]), l7 = sigmoid(x[7] + h[7]);
    const V a = tanh(tanh(l0 * l1) + e.s[kC]), b = tanh(l2 + l3);
    const V k = tanh(l4 * l5), f = sigmoid(l6 + l7);
    e.next[kC] = a * b;
    e.next[kH] = tanh(e.next[kC] * tanh(k + f));
    save[kX3] = x[3];
    save[kH3] = h[3];
    save[0] = l0;
    save[1] = l1;
    save[2] = l2;
    save[4] = l4;
    save[5] = l5;
    save[6] = l6;
    save[7] = l7;
  }
  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    const V* save = e.save;
    V *dx = e.dx, *dh = e.dh;
    const V l0 = save[0], l1 = save[1], l2 = save[2], l4 = save[4], l5 = save[5], l6 = save[6],
            l7 = save[7];
    const V product = save[kX3] * save[kH3];
    const V t = tanh(l0 * l1), a = tanh(t + e.s[kC]), b = tanh(l2 + relu(product));
    const V k = tanh(l4 * l5), f = sigmoid(l6 + l7), g = tanh(k + f);
    const V dcg = e.dnext[kH] * dtanh(e.next[kH]);  // gradient of c' * g
    const V dc = e.dnext[kC] + dcg * g;
    const V da = dc * b * dtanh(a), db = dc * a * dtanh(b);
    const V dg = dcg * e.next[kC] * dtanh(g);
    const V dt = da * dtanh(t), dk = dg * dtanh(k), df = dg * dsigmoid(f);
    e.ds[kH] = V(0);
    e.ds[kC] = da;
    dx[0] = dh[0] = dt * l1 * dsigmoid(l0);
    dx[1] = dh[1] = where_positive(l1, dt * l0);
    dx[2] = dh[2] = db * dsigmoid(l2);
    const V d3 = where_positive(product, db);
    dx[3] = d3 * save[kH3];
    dh[3] = d3 * save[kX3];
    dx[4] = dh[4] = dk * l5 * dtanh(l4);
    dx[5] = dh[5] = dk * l4 * dsigmoid(l5);
    dx[6] = dh[6] = df * dtanh(l6);
    dx[7] = dh[7] = df * dsigmoid(l7);
  }
};

}  // namespace rnnfast
