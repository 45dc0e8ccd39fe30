#pragma once
// The pointwise part of a step: what one thread does for one hidden unit of one sequence, given the
// sums of the recurrent products. Every kernel that has them in registers calls these functions.

#include "cells/cell.h"
#include "cuda/recurrent.h"
#include "cuda/scalar.cuh"

namespace rnnfast::cuda {

// Where one unit of one sequence is.
struct Place {
  int t, b, unit;
};

// count values, `stride` apart.
template <int kCount>
RNNFAST_DEVICE void load(const float* from, long stride, Scalar* to) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = Scalar(from[i * stride]);
}
template <int kCount>
RNNFAST_DEVICE void store(const Scalar* from, long stride, float* to) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i * stride] = from[i].value;
}

// Both structs load and store all that belongs to the element alone, and hand back what other units
// multiply next; each kernel has its own way of passing that on.

template <class Cell>
struct ForwardElement {
  static constexpr CellInfo info = Cell::info;
  static constexpr int kSlots = info.slots(), kParams = info.params > 0 ? info.params : 1;
  // Between the two products saved values lie among the gates.
  static constexpr int kLoaded = info.second_gates > 0 ? kSlots : info.gates;
  using Operands = Scalar[info.operands];

  const ForwardArgs& args;

  // The states before the first step. Gives the operands of the first product.
  RNNFAST_DEVICE void begin(int b, int unit, Operands& operands) const {
    const CallSize& size = args.size;
    Scalar s[info.states];
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      s[i] = Scalar(args.initial[i] ? args.initial[i][size.row(b) + unit] : 0.f);
    publish(s, size.before(size.step(0)), b, unit, operands);
  }

  // Takes the sums of the only product and gives the operands of the next step's.
  RNNFAST_DEVICE void step(Place at, Scalar (&h)[info.h_gates()], Operands& operands) const {
    if (!args.size.active(at.t, at.b)) return skip(at, operands);
    Scalar x[kSlots], save[kSlots], p[kParams]{}, s[info.states];
    load_step(at, x, p, s);
    add_bias<0, info.h_gates()>(at, h);
    finish(at, x, h, p, s, save, operands);
  }

  // Takes the sums of the first of two products and gives the operand of the second.
  RNNFAST_DEVICE void first(Place at, Scalar (&h)[info.h_gates()], Scalar& q) const {
    q = Scalar(0.f);
    if (!args.size.active(at.t, at.b)) return;
    Scalar x[kSlots], save[kSlots], p[kParams]{}, s[info.states];
    load_step(at, x, p, s);
    add_bias<0, info.h_gates()>(at, h);
#pragma unroll
    for (int k = 0; k < kSlots; ++k) save[k] = x[k];
    Cell::operand(x, h, p, s, &q, save);
    store<info.saved>(save, args.size.hidden, gates(at));
  }

  // Takes the sums of the second and gives the operands of the next step's first.
  RNNFAST_DEVICE void second(Place at, Scalar (&sums)[info.second_gates],
                             Operands& operands) const {
    if (!args.size.active(at.t, at.b)) return skip(at, operands);
    Scalar x[kSlots], save[kSlots], p[kParams]{}, s[info.states], h[info.gates];
    load_step(at, x, p, s);
#pragma unroll
    for (int k = 0; k < kSlots; ++k) save[k] = x[k];
    add_bias<info.h_gates(), info.second_gates>(at, sums);
#pragma unroll
    for (int g = 0; g < info.second_gates; ++g) h[info.h_gates() + g] = sums[g];
    finish(at, x, h, p, s, save, operands);
  }

  // The states after the last step.
  RNNFAST_DEVICE void end(int b, int unit) const {
    const CallSize& size = args.size;
    const int slot = size.after(size.step(size.steps - 1));
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      args.final[i][size.row(b) + unit] = args.states[size.row(i, slot, b) + unit];
  }

 private:
  RNNFAST_DEVICE float* gates(Place at) const {
    return args.gates + args.size.row(at.t, at.b) * kSlots + at.unit;
  }
  RNNFAST_DEVICE void load_states(Place at, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.states>(args.states + size.row(0, size.before(at.t), at.b) + at.unit,
                      size.row(1, 0, 0), s);
  }
  RNNFAST_DEVICE void load_step(Place at, Scalar* x, Scalar* p, Scalar* s) const {
    load<kLoaded>(gates(at), args.size.hidden, x);
    load<info.params>(args.weight_channel + at.unit, args.size.hidden, p);
    load_states(at, s);
  }
  template <int kFirst, int kCount>
  RNNFAST_DEVICE void add_bias(Place at, Scalar* h) const {
    if (!args.bias_hh) return;
#pragma unroll
    for (int g = 0; g < kCount; ++g)
      h[g] = h[g] + Scalar(args.bias_hh[long(kFirst + g) * args.size.hidden + at.unit]);
  }
  RNNFAST_DEVICE void finish(Place at, const Scalar* x, const Scalar* h, const Scalar* p,
                             const Scalar* s, Scalar* save, Operands& operands) const {
    Scalar s_new[info.states];
    Cell::forward(x, h, p, s, s_new, save);
    store<info.saved>(save, args.size.hidden, gates(at));
    output(at, s_new[0]);
    publish(s_new, args.size.after(at.t), at.b, at.unit, operands);
  }
  RNNFAST_DEVICE void skip(Place at, Operands& operands) const {
    Scalar s[info.states];
    load_states(at, s);
    output(at, Scalar(0.f));
    publish(s, args.size.after(at.t), at.b, at.unit, operands);
  }
  RNNFAST_DEVICE void output(Place at, Scalar y) const {
    args.y[(long(at.t) * args.size.batch + at.b) * args.y_stride + at.unit] = y.value;
  }
  // Stores the states but h, which is an operand.
  RNNFAST_DEVICE void publish(const Scalar* s, int slot, int b, int unit,
                              Operands& operands) const {
    const CallSize& size = args.size;
    store<info.states - 1>(s + 1, size.row(1, 0, 0), args.states + size.row(1, slot, b) + unit);
    operands[0] = s[0];
    if constexpr (info.operands > 1) Cell::publish(s, operands);
  }
};

template <class Cell>
struct BackwardElement {
  static constexpr CellInfo info = Cell::info;
  static constexpr int kSlots = info.slots(), kParams = info.params > 0 ? info.params : 1;
  using Operands = Scalar[info.operands];
  using Gates = Scalar[info.gates];

  const BackwardArgs& args;

  // The gradient of the states after the last step.
  RNNFAST_DEVICE void begin(int b, int unit) const {
    const long at = args.size.row(b) + unit;
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      args.dinitial[i][at] = args.dfinal[i] ? args.dfinal[i][at] : 0.f;
  }

  // Takes the gradients of the operands that the states after step t published, and gives those of
  // the recurrent product; where there is a second product, of its gates alone.
  RNNFAST_DEVICE void step(Place at, const Operands& dv, Gates& dh) const {
    const CallSize& size = args.size;
    Scalar ds_new[info.states], s_new[info.states];
    load_carry(at, ds_new);
    load_states(at, size.after(at.t), s_new);
    add_operands(s_new, dv, ds_new);
    Scalar dx[info.gates], dp[kParams], ds[info.states];
#pragma unroll
    for (int g = 0; g < info.gates; ++g) dx[g] = dh[g] = Scalar(0.f);
#pragma unroll
    for (int i = 0; i < info.params; ++i) dp[i] = Scalar(0.f);
    if (size.active(at.t, at.b)) {
      if (args.dy)
        ds_new[0] =
            ds_new[0] + Scalar(args.dy[(long(at.t) * size.batch + at.b) * args.y_stride + at.unit]);
      Scalar save[kSlots], p[kParams]{}, s[info.states];
      load_step(at, save, p, s);
      Cell::backward(save, p, s, s_new, ds_new, dx, dh, dp, ds);
    } else {
#pragma unroll
      for (int i = 0; i < info.states; ++i) ds[i] = ds_new[i];
      if constexpr (info.second_gates > 0) args.second[size.row(at.t, at.b) + at.unit] = 0.f;
    }
    if constexpr (info.second_gates > 0) {  // of the first product's gates so far a part
      store<info.h_gates()>(dh, size.hidden, pending(0, at));
      if constexpr (!info.additive) store<info.h_gates()>(dx, size.hidden, pending(1, at));
    }
    finish<info.second_gates ? info.h_gates() : 0, info.gates>(at, dx, dh);
    store<info.params>(dp, size.hidden, channel(at));
    store_carry(at, ds);
  }

  // Takes the gradient of the second product's operand, and gives those of the first's gates.
  RNNFAST_DEVICE void second(Place at, const Scalar& dq, Gates& dh) const {
    const CallSize& size = args.size;
    load<info.h_gates()>(pending(0, at), size.hidden, dh);
    Scalar dx[info.gates];
    load<info.h_gates()>(pending(info.additive ? 0 : 1, at), size.hidden, dx);
    if (size.active(at.t, at.b)) {
      Scalar save[kSlots], p[kParams]{}, s[info.states], ds[info.states], dp[kParams], q;
      load_step(at, save, p, s);
      load_carry(at, ds);
      load<info.params>(channel(at), size.hidden, dp);
      Cell::operand_backward(save, p, s, &dq, &q, dx, dh, dp, ds);
      store<info.params>(dp, size.hidden, channel(at));
      store_carry(at, ds);
      args.second[size.row(at.t, at.b) + at.unit] = q.value;
    }
    finish<0, info.h_gates()>(at, dx, dh);
  }

  // Takes the gradients of the operands that the initial states published.
  RNNFAST_DEVICE void end(int b, int unit, const Operands& dv) const {
    const CallSize& size = args.size;
    const Place at{size.step(0), b, unit};
    Scalar s[info.states], ds[info.states];
    load_states(at, size.before(at.t), s);
    load_carry(at, ds);
    add_operands(s, dv, ds);
    store_carry(at, ds);
  }

 private:
  RNNFAST_DEVICE float* channel(Place at) const {
    return args.dchannel + args.size.row(at.t, at.b) * info.params + at.unit;
  }
  RNNFAST_DEVICE void load_states(Place at, int slot, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.states>(args.states + size.row(0, slot, at.b) + at.unit, size.row(1, 0, 0), s);
  }
  RNNFAST_DEVICE void load_step(Place at, Scalar* save, Scalar* p, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.saved>(args.gates + size.row(at.t, at.b) * kSlots + at.unit, size.hidden, save);
    load<info.params>(args.weight_channel + at.unit, size.hidden, p);
    load_states(at, size.before(at.t), s);
  }
  RNNFAST_DEVICE void add_operands(const Scalar* s, const Scalar* dv, Scalar* ds) const {
    ds[0] = ds[0] + dv[0];
    if constexpr (info.operands > 1) Cell::publish_backward(s, dv, ds);
  }
  // The gradient of the states waits in dinitial from step to step.
  RNNFAST_DEVICE void load_carry(Place at, Scalar* ds) const {
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      ds[i] = Scalar(args.dinitial[i][args.size.row(at.b) + at.unit]);
  }
  RNNFAST_DEVICE void store_carry(Place at, const Scalar* ds) const {
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      args.dinitial[i][args.size.row(at.b) + at.unit] = ds[i].value;
  }
  // Rounds what products multiply. Where the cell is additive dx is dh, which the kernel stores.
  template <int kFirst, int kEnd>
  RNNFAST_DEVICE void finish(Place at, Scalar* dx, Scalar* dh) const {
    const CallSize& size = args.size;
    if (args.bfloat16)
#pragma unroll
      for (int g = kFirst; g < kEnd; ++g) {
        dx[g] = rounded(dx[g]);
        dh[g] = rounded(dh[g]);
      }
    if constexpr (!info.additive)
      store<kEnd - kFirst>(
          dx + kFirst, size.hidden,
          args.dgates_x + size.row(at.t, at.b) * info.gates + long(kFirst) * size.hidden + at.unit);
  }
  RNNFAST_DEVICE float* pending(int which, Place at) const {
    return args.pending +
           (long(which) * args.size.batch + at.b) * info.h_gates() * args.size.hidden + at.unit;
  }
};

}  // namespace rnnfast::cuda
