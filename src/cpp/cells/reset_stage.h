#pragma once
// A stage that several cells share: gates r and z, where r resets h for the next stage's product.
//   r = sigmoid(a_r)     z = sigmoid(a_z)     makes r * h
#include "cells/cell.h"

namespace rnnfast {

struct ResetStage {
  enum Slot { kR, kZ, kN };

  template <class V>
  static RNNFAST_INLINE void forward(const Values<V>& e) {
    const V r = e.save[kR] = sigmoid(e.a[kR]);
    e.save[kZ] = sigmoid(e.a[kZ]);
    e.made[0] = r * e.s[0];
  }
  template <class V>
  static RNNFAST_INLINE void backward(const Gradients<V>& e) {
    const V r = e.save[kR];
    e.made[0] = r * e.s[0];
    e.da[kR] = e.dmade[0] * e.s[0] * dsigmoid(r);
    e.da[kZ] = e.dsave[kZ] * dsigmoid(e.save[kZ]);
    e.ds[0] = e.ds[0] + e.dmade[0] * r;
  }
};

}  // namespace rnnfast
