#pragma once
// The pointwise part of a step: what one thread does for one hidden unit of one sequence, given the
// sums of the recurrent products. Every kernel that has them in registers calls these functions.

#include "cells/cell.h"
#include "cuda/recurrent.h"
#include "cuda/scalar.cuh"
#include "cuda/unroll.cuh"

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

// What a stage hands on: its values, or, the last one, h and the values of an opening stage.
template <class Cell, int kStage>
inline constexpr int kHandedOn = kStage == Cell::info.last() ? 1 + Cell::info.opening_values()
                                                             : Cell::info.stages[kStage].values;

template <class Cell>
struct ForwardElement {
  static constexpr CellInfo info = Cell::info;
  static constexpr int kLast = info.last(), kParams = info.params > 0 ? info.params : 1;
  static constexpr int kSlots = info.slots();
  template <int kStage>
  using Operands = Scalar[kHandedOn<Cell, kStage>];
  template <int kStage>
  using Sums = Scalar[info.stages[kStage].gates.count];

  const ForwardArgs& args;

  // The states before the first step.
  RNNFAST_DEVICE void begin(int b, int unit, Operands<kLast>& operands) const {
    const CallSize& size = args.size;
    Scalar s[info.states];
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      s[i] = Scalar(args.initial[i] ? args.initial[i][size.row(b) + unit] : 0.f);
    hand_on(s, size.before(size.step(0)), b, unit, operands);
  }

  // A stage, given the sums of its products.
  template <int kStage>
  RNNFAST_DEVICE void step(Place at, Sums<kStage>& h, Operands<kStage>& operands) const {
    constexpr Stage stage = info.stages[kStage];
    constexpr int gates = stage.gates.count, first_slot = info.first_slot(kStage);
    if (!args.size.active(at.t, at.b)) return skip<kStage>(at, operands);
    const long H = args.size.hidden;
    Scalar x[gates], a[gates], p[kParams]{}, s[info.states], kept[kSlots], save[stage.saved + 1];
    load<gates>(slot(at, stage.gates.first), H, x);
    load<stage.sees.count>(slot(at, stage.sees.first), H, kept + stage.sees.first);
    load<info.params>(args.weight_channel + at.unit, H, p);
    load_states(at, s);
#pragma unroll
    for (int g = 0; g < gates; ++g) {
      if (args.bias_hh) h[g] = h[g] + Scalar(args.bias_hh[(stage.gates.first + g) * H + at.unit]);
      a[g] = x[g] + h[g];
    }
    if constexpr (kStage == kLast) {
      Scalar next[info.states];
      Cell::template forward<kStage>(Values<Scalar>{a, x, h, p, s, kept, next, nullptr, save});
      output(at, next[0]);
      hand_on(next, args.size.after(at.t), at.b, at.unit, operands);
    } else {
      Cell::template forward<kStage>(Values<Scalar>{a, x, h, p, s, kept, nullptr, operands, save});
    }
    store<stage.saved>(save, H, slot(at, first_slot));
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
  RNNFAST_DEVICE float* slot(Place at, int k) const {
    return args.gates + args.size.row(at.t, at.b) * kSlots + long(k) * args.size.hidden + at.unit;
  }
  RNNFAST_DEVICE void load_states(Place at, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.states>(args.states + size.row(0, size.before(at.t), at.b) + at.unit,
                      size.row(1, 0, 0), s);
  }
  template <int kStage>
  RNNFAST_DEVICE void skip(Place at, Operands<kStage>& operands) const {
    if constexpr (kStage == kLast) {
      Scalar s[info.states];
      load_states(at, s);
      output(at, Scalar(0.f));
      hand_on(s, args.size.after(at.t), at.b, at.unit, operands);
    } else {
#pragma unroll
      for (Scalar& value : operands) value = Scalar(0.f);
    }
  }
  RNNFAST_DEVICE void output(Place at, Scalar y) const {
    args.y[(long(at.t) * args.size.batch + at.b) * args.y_stride + at.unit] = y.value;
  }
  // Stores the states but h, which is an operand.
  RNNFAST_DEVICE void hand_on(const Scalar* s, int slot, int b, int unit,
                              Operands<kLast>& operands) const {
    const CallSize& size = args.size;
    store<info.states - 1>(s + 1, size.row(1, 0, 0), args.states + size.row(1, slot, b) + unit);
    operands[0] = s[0];
    if constexpr (info.first() > 0)
      Cell::template forward<0>(Values<Scalar>{.s = s, .made = operands + 1});
  }
};

template <class Cell>
struct BackwardElement {
  static constexpr CellInfo info = Cell::info;
  static constexpr int kLast = info.last(), kParams = info.params > 0 ? info.params : 1;
  static constexpr int kSlots = info.slots();
  template <int kStage>
  using Operands = Scalar[kHandedOn<Cell, kStage>];
  template <int kStage>
  using Gates = Scalar[info.stages[kStage].gates.count];

  const BackwardArgs& args;

  // The gradient of the states after the last step.
  RNNFAST_DEVICE void begin(int b, int unit) const {
    const long at = args.size.row(b) + unit;
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      args.dinitial[i][at] = args.dfinal[i] ? args.dfinal[i][at] : 0.f;
  }

  // Takes the gradients of what a stage handed on, and gives those of its recurrent product.
  template <int kStage>
  RNNFAST_DEVICE void step(Place at, const Operands<kStage>& dv, Gates<kStage>& dh) const {
    constexpr Stage stage = info.stages[kStage];
    constexpr bool is_last = kStage == kLast;
    const CallSize& size = args.size;
    const bool active = size.active(at.t, at.b);
    Scalar carry[info.states], next[info.states], dp[kParams];
    Scalar made[stage.values + 1], dkept[kSlots];
    Gates<kStage> dx;
    load_carry(at, carry);
    if constexpr (is_last) {
      load_states(at, size.after(at.t), next);
      add_operands(next, dv, carry);
      zero<info.params>(dp);
    } else {
      load<info.params>(channel(at), size.hidden, dp);
    }
    zero<stage.gates.count>(dx);
    zero<stage.gates.count>(dh);
    zero<stage.values>(made);
    zero<stage.sees.count>(dkept + stage.sees.first);
    if (active) {
      Scalar p[kParams]{}, s[info.states], kept[kSlots], save[stage.saved + 1];
      Scalar dsave[stage.saved + 1];
      Gates<kStage> da;
      load_step<kStage>(at, p, s, kept, save, dsave);
      if constexpr (is_last) {
        Scalar ds[info.states];
        if (args.dy)
          carry[0] = carry[0] +
                     Scalar(args.dy[(long(at.t) * size.batch + at.b) * args.y_stride + at.unit]);
        Cell::template backward<kStage>(Gradients<Scalar>{p, s, kept, save, next, carry, nullptr,
                                                          dsave, da, dx, dh, ds, dp, dkept, made});
#pragma unroll
        for (int i = 0; i < info.states; ++i) carry[i] = ds[i];
      } else {
        Cell::template backward<kStage>(Gradients<Scalar>{
            p, s, kept, save, nullptr, nullptr, dv, dsave, da, dx, dh, carry, dp, dkept, made});
      }
      if constexpr (!stage.split)
#pragma unroll
        for (int g = 0; g < stage.gates.count; ++g) dx[g] = dh[g] = da[g];
    }
    finish<kStage>(at, dx, dh);
    store<info.params>(dp, size.hidden, channel(at));
    store<stage.sees.count>(dkept + stage.sees.first, size.hidden,
                            kept_gradient(at, info.first_seen(kStage)));
    store_carry(at, carry);
    if constexpr (!is_last) {
      constexpr int first = info.first_value(kStage) - info.opening_values();
      store<stage.values>(made, size.row(size.steps, 0),
                          args.values + size.row(first * size.steps + at.t, at.b) + at.unit);
    }
  }

  // Takes the gradients of what the initial states handed on.
  RNNFAST_DEVICE void end(int b, int unit, const Operands<kLast>& dv) const {
    const CallSize& size = args.size;
    const Place at{size.step(0), b, unit};
    Scalar s[info.states], ds[info.states];
    load_states(at, size.before(at.t), s);
    load_carry(at, ds);
    add_operands(s, dv, ds);
    store_carry(at, ds);
  }

 private:
  template <int kCount>
  RNNFAST_DEVICE static void zero(Scalar* to) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = Scalar(0.f);
  }
  RNNFAST_DEVICE float* channel(Place at) const {
    return args.dchannel + args.size.row(at.t, at.b) * info.params + at.unit;
  }
  RNNFAST_DEVICE float* kept_gradient(Place at, int place) const {
    constexpr int seen = info.seen();
    return args.dkept + (long(at.b) * seen + place) * args.size.hidden + at.unit;
  }
  RNNFAST_DEVICE void load_states(Place at, int slot, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.states>(args.states + size.row(0, slot, at.b) + at.unit, size.row(1, 0, 0), s);
  }
  template <int kStage>
  RNNFAST_DEVICE void load_step(Place at, Scalar* p, Scalar* s, Scalar* kept, Scalar* save,
                                Scalar* dsave) const {
    constexpr Stage stage = info.stages[kStage];
    constexpr int first_slot = info.first_slot(kStage);
    const CallSize& size = args.size;
    const long H = size.hidden;
    const float* slots = args.gates + size.row(at.t, at.b) * kSlots + at.unit;
    load<stage.saved>(slots + first_slot * H, H, save);
    load<stage.sees.count>(slots + stage.sees.first * H, H, kept + stage.sees.first);
    load<info.params>(args.weight_channel + at.unit, H, p);
    load_states(at, size.before(at.t), s);
    for_each_index<stage.saved>([&]<int k>() {
      constexpr int place = info.seen_place(first_slot + k);
      if constexpr (place >= 0) dsave[k] = Scalar(*kept_gradient(at, place));
    });
  }
  RNNFAST_DEVICE void add_operands(const Scalar* s, const Operands<kLast>& dv, Scalar* ds) const {
    ds[0] = ds[0] + dv[0];
    if constexpr (info.first() > 0) {
      Scalar made[info.opening_values()];
      Cell::template backward<0>(
          Gradients<Scalar>{.s = s, .dmade = dv + 1, .ds = ds, .made = made});
    }
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
  // Rounds what products multiply. Where no stage is split dx is dh, which the kernel stores.
  template <int kStage>
  RNNFAST_DEVICE void finish(Place at, Gates<kStage>& dx, Gates<kStage>& dh) const {
    constexpr Span gates = info.stages[kStage].gates;
    const CallSize& size = args.size;
    if (args.bfloat16)
#pragma unroll
      for (int g = 0; g < gates.count; ++g) {
        dx[g] = rounded(dx[g]);
        dh[g] = rounded(dh[g]);
      }
    if constexpr (info.split())
      store<gates.count>(dx, size.hidden,
                         args.dgates_x + size.row(at.t, at.b) * info.gates +
                             long(gates.first) * size.hidden + at.unit);
  }
};

}  // namespace rnnfast::cuda
