#pragma once
// The pointwise part of a step: the work of one thread for one hidden unit of one sequence, given
// the sums of the recurrent products. Every kernel with these sums in registers calls these
// functions.

#include "cells/step.h"
#include "cuda/multiplied.h"
#include "cuda/recurrent.h"
#include "cuda/scalar.cuh"
#include "cuda/unroll.cuh"

namespace rnnfast::cuda {

// The step, sequence and unit of an element.
struct Place {
  int t, b, unit;
};

// Loads kCount values, `stride` apart.
template <int kCount>
RNNFAST_DEVICE void load(const float* from, Index stride, Scalar* to) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = Scalar(from[i * stride]);
}
template <int kCount>
RNNFAST_DEVICE void store(const Scalar* from, Index stride, float* to) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i * stride] = from[i].value;
}

// ForwardElement and BackwardElement load and store whatever belongs to one element only, and
// return the values that other units multiply next: each kernel passes those on in its own way.

// How many operands a stage passes on: its values or, for the last stage, h and the values of an
// opening stage. Their operand numbers start at kFirstPassedOn.
template <class Cell, int kStage>
inline constexpr int kPassedOn = kStage == Cell::info.last() ? 1 + Cell::info.opening_values()
                                                             : Cell::info.stages[kStage].values;
template <class Cell, int kStage>
inline constexpr int kFirstPassedOn =
    kStage == Cell::info.last() ? 0 : 1 + Cell::info.first_value(kStage);

// Array sizes: the values that a stage passes on, the gates that its products compute, and the
// operands that the next stage multiplies. An array has at least one element.
RNNFAST_INLINE constexpr int at_least_one(int n) { return n > 0 ? n : 1; }
template <class Cell, int kStage>
inline constexpr Multiplied kMultiplied{Cell::info, kStage};
template <class Cell, int kStage>
inline constexpr StepWrites kWrites = StepsOf<Cell>::writes(kStage);
template <class Cell, int kStage>
inline constexpr int kOperands = at_least_one(kPassedOn<Cell, kStage>);
template <class Cell, int kStage>
inline constexpr int kSums = at_least_one(kMultiplied<Cell, kStage>.sums);
template <class Cell, int kStage>
inline constexpr int kSlabsAfter =
    at_least_one(kMultiplied<Cell, stage_after(Cell::info, kStage)>.slabs);

template <class Cell>
struct ForwardElement {
  using Stages = StepsOf<Cell>;
  static constexpr CellInfo info = Cell::info;
  static constexpr int kLast = info.last(), kParams = at_least_one(info.params);
  static constexpr int kSlots = info.slots();
  static_assert(kSlots <= 64 && info.gates <= 32 && info.states <= kMaxStates, "see StepWrites");
  template <int kStage>
  using Operands = Scalar[kOperands<Cell, kStage>];
  template <int kStage>
  using Sums = Scalar[kSums<Cell, kStage>];

  const ForwardArgs& args;

  // Loads the states before the first step.
  RNNFAST_DEVICE void begin(int b, int unit, Operands<kLast>& operands) const {
    const CallSize& size = args.size;
    Scalar s[info.states];
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      s[i] = Scalar(args.initial[i] ? args.initial[i][size.row(b) + unit] : 0.f);
    const int slot = size.before(size.step(0));
    store<info.states - 1>(s + 1, size.row(1, 0, 0), args.states + size.row(1, slot, b) + unit);
    pass_on(s, operands);
  }

  // Runs a stage, given the sums of its products.
  template <int kStage>
  RNNFAST_DEVICE void step(Place at, const Sums<kStage>& sums, Operands<kStage>& operands) const {
    if (!args.size.active(at.t, at.b)) return skip<kStage>(at, operands);
    const Index H = args.size.hidden;
    Scalar slots[kSlots + 1], h[info.gates], p[kParams]{}, s[info.states], next[info.states];
    Scalar made[info.values() + 1];
    load<kSlots>(slot(at, 0), H, slots);
    load<info.params>(args.weight_channel + at.unit, H, p);
    load_states(at.b, at.unit, args.size.before(at.t), s);
    for_each_index<kMultiplied<Cell, kStage>.sums>([&]<int i>() {
      constexpr int gate = kMultiplied<Cell, kStage>.gate[i], block = info.recurrent.of(gate);
      h[gate] = sums[i];
      if (args.bias_hh) h[gate] = h[gate] + Scalar(args.bias_hh[block * H + at.unit]);
    });
    Stages::template forward<kStage>(StepValues<Scalar>{slots, h, p, s, next, made});
    for_each_index<info.states>([&]<int i>() {  // state 0 is h, which is passed on as an operand
      if constexpr (i > 0 && has_bit(kWrites<Cell, kStage>.next, i)) *state(at, i) = next[i].value;
      if constexpr (kStage == kLast && !has_bit(kWrites<Cell, kStage>.next, i))
        next[i] = Scalar(*state(at, i));
    });
    if constexpr (kStage == kLast) {
      output(at, next[0]);
      pass_on(next, operands);
    } else {
#pragma unroll
      for (int i = 0; i < info.stages[kStage].values; ++i)
        operands[i] = made[info.first_value(kStage) + i];
    }
    for_each_index<kSlots>([&]<int k>() {
      if constexpr (has_bit(kWrites<Cell, kStage>.slots, k)) *slot(at, k) = slots[k].value;
    });
  }

  // Stores the states after the last step.
  RNNFAST_DEVICE void end(int b, int unit) const {
    const CallSize& size = args.size;
    const int slot = size.after(size.step(size.steps - 1));
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      args.final[i][size.row(b) + unit] = args.states[size.row(i, slot, b) + unit];
  }

 private:
  RNNFAST_DEVICE float* slot(Place at, int k) const {
    return args.gates + args.size.row(at.t, at.b) * kSlots + Index(k) * args.size.hidden + at.unit;
  }
  RNNFAST_DEVICE float* state(Place at, int i) const {  // the state after the step
    return args.states + args.size.row(i, args.size.after(at.t), at.b) + at.unit;
  }
  RNNFAST_DEVICE void load_states(int b, int unit, int slot, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.states>(args.states + size.row(0, slot, b) + unit, size.row(1, 0, 0), s);
  }
  template <int kStage>
  RNNFAST_DEVICE void skip(Place at, Operands<kStage>& operands) const {
    if constexpr (kStage == kLast) {
      Scalar s[info.states];
      load_states(at.b, at.unit, args.size.before(at.t), s);
      output(at, Scalar(0.f));
      store<info.states - 1>(s + 1, args.size.row(1, 0, 0), state(at, 1));
      pass_on(s, operands);
    } else {
#pragma unroll
      for (Scalar& value : operands) value = Scalar(0.f);
    }
  }
  RNNFAST_DEVICE void output(Place at, Scalar y) const {
    args.y[(Index(at.t) * args.size.batch + at.b) * args.y_stride + at.unit] = y.value;
  }
  RNNFAST_DEVICE void pass_on(const Scalar* s, Operands<kLast>& operands) const {
    operands[0] = s[0];
    if constexpr (info.opens)
      Stages::template forward<0>(StepValues<Scalar>{.s = s, .made = operands + 1});
  }
};

template <class Cell>
struct BackwardElement {
  using Stages = StepsOf<Cell>;
  static constexpr CellInfo info = Cell::info;
  static constexpr int kFirst = info.first(), kLast = info.last();
  static constexpr int kParams = at_least_one(info.params), kSlots = info.slots();
  static constexpr int kSeen = info.seen(), kWaiting = waiting(info);
  static_assert(kSeen <= 64, "see StepWrites");
  // The gradients of the operands that the next stage multiplies, and of this stage's own gates.
  template <int kStage>
  using After = Scalar[kSlabsAfter<Cell, kStage>];
  template <int kStage>
  using Gates = Scalar[kSums<Cell, kStage>];

  const BackwardArgs& args;

  // Loads the gradient of the states after the last step.
  RNNFAST_DEVICE void begin(int b, int unit) const {
    const Index at = args.size.row(b) + unit;
#pragma unroll
    for (int i = 0; i < info.states; ++i)
      args.dinitial[i][at] = args.dfinal[i] ? args.dfinal[i][at] : 0.f;
#pragma unroll
    for (int i = 0; i < kWaiting; ++i) *waiting_gradient(b, unit, i) = 0.f;
  }

  // Given the gradients of the operands of the next stage, computes the gradients of the gates that
  // this stage's products computed.
  template <int kStage>
  RNNFAST_DEVICE void step(Place at, const After<kStage>& sums, Gates<kStage>& dh) const {
    constexpr Stage stage = info.stages[kStage];
    constexpr bool is_last = kStage == kLast;
    const CallSize& size = args.size;
    Scalar carry[info.states], next[info.states], dp[kParams];
    Scalar passed_on[kOperands<Cell, kStage>], made[info.values() + 1];
    Scalar dgate[info.gates], dx[info.gates], dslot[kSeen + 1];
    load_carry(at.b, at.unit, carry);
    take_sums<kStage>(at.b, at.unit, sums, passed_on);
    load_states(at, size.after(at.t), next);
    if constexpr (is_last) {
      add_operands(next, passed_on, carry);
      zero<info.params>(dp);
    } else {
      load<info.params>(channel(at), size.hidden, dp);
    }
    zero<info.gates>(dgate);
    zero<info.gates>(dx);
    zero<info.values()>(made);
    zero<kSeen>(dslot);
    if (size.active(at.t, at.b)) {
      Scalar p[kParams]{}, s[info.states], slots[kSlots + 1], dmade[info.values() + 1];
      load<kSlots>(args.gates + size.row(at.t, at.b) * kSlots + at.unit, size.hidden, slots);
      load<info.params>(args.weight_channel + at.unit, size.hidden, p);
      load_states(at, size.before(at.t), s);
      StepGradients<Scalar> e{.slot = slots, .p = p, .s = s, .next = next};
      e.dslot = dslot, e.dgate = dgate, e.dx = dx, e.dp = dp, e.made = made;
      if constexpr (is_last) {
        Scalar ds[info.states];
        if (args.dy)
          carry[0] = carry[0] +
                     Scalar(args.dy[(Index(at.t) * size.batch + at.b) * args.y_stride + at.unit]);
        e.dnext = carry, e.ds = ds;
        Stages::template backward<kStage>(e);
#pragma unroll
        for (int i = 0; i < info.states; ++i) carry[i] = ds[i];
      } else {
#pragma unroll
        for (int i = 0; i < stage.values; ++i) dmade[info.first_value(kStage) + i] = passed_on[i];
        load<kSeen>(kept_gradient(at, 0), size.hidden, dslot);
        e.dmade = dmade, e.ds = carry;
        Stages::template backward<kStage>(e);
      }
    }
    finish<kStage>(at, dx, dgate);
    for_each_index<kMultiplied<Cell, kStage>.sums>([&]<int i>() {
      constexpr int gate = kMultiplied<Cell, kStage>.gate[i];
      dh[i] = dgate[gate];
    });
    store<info.params>(dp, size.hidden, channel(at));
    for_each_index<kSeen>([&]<int k>() {
      if constexpr (has_bit(kWrites<Cell, kStage>.dslots, k))
        *kept_gradient(at, k) = dslot[k].value;
    });
    store_carry(at.b, at.unit, carry);
    if constexpr (!is_last) {
      constexpr int first = info.first_value(kStage), inner = first - info.opening_values();
      store<stage.values>(made + first, size.row(size.steps, 0),
                          args.values + size.row(inner * size.steps + at.t, at.b) + at.unit);
    }
  }

  // Adds the gradients of the operands of the first step's first stage to those of the initial
  // states.
  RNNFAST_DEVICE void end(int b, int unit, const After<kLast>& sums) const {
    const CallSize& size = args.size;
    const Place at{size.step(0), b, unit};
    Scalar s[info.states], ds[info.states], passed_on[1 + info.opening_values()];
    load_states(at, size.before(at.t), s);
    load_carry(b, unit, ds);
    take_sums<kLast>(b, unit, sums, passed_on);
    add_operands(s, passed_on, ds);
    store_carry(b, unit, ds);
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
    return args.dkept + (Index(at.b) * kSeen + place) * args.size.hidden + at.unit;
  }
  RNNFAST_DEVICE float* waiting_gradient(int b, int unit, int place) const {
    return args.dwaiting + (Index(b) * kWaiting + place) * args.size.hidden + unit;
  }
  RNNFAST_DEVICE void load_states(Place at, int slot, Scalar* s) const {
    const CallSize& size = args.size;
    load<info.states>(args.states + size.row(0, slot, at.b) + at.unit, size.row(1, 0, 0), s);
  }
  // Computes the gradients of the operands that a stage passed on: the sums of the next stage's
  // products, plus those stored earlier for operands that wait. If the next stage also multiplies
  // operands of other stages, stores their gradients, or adds them to those already stored.
  template <int kStage>
  RNNFAST_DEVICE void take_sums(int b, int unit, const After<kStage>& sums,
                                Scalar* passed_on) const {
    constexpr int after = stage_after(info, kStage);
    for_each_index<kMultiplied<Cell, after>.slabs>([&]<int i>() {
      constexpr int operand = kMultiplied<Cell, after>.operand[i];
      if constexpr (maker_of(info, operand) != kStage) {
        float* waits = waiting_gradient(b, unit, waiting(info, operand));
        *waits = last_product_of(info, operand) == after ? sums[i].value : *waits + sums[i].value;
      }
    });
    for_each_index<kPassedOn<Cell, kStage>>([&]<int i>() {
      constexpr int operand = kFirstPassedOn<Cell, kStage> + i,
                    slab = kMultiplied<Cell, after>.slab_of(operand);
      if constexpr (slab >= 0)
        passed_on[i] = sums[slab];
      else
        passed_on[i] = Scalar(0.f);
      if constexpr (waits(info, operand))
        passed_on[i] = passed_on[i] + Scalar(*waiting_gradient(b, unit, waiting(info, operand)));
    });
  }
  RNNFAST_DEVICE void add_operands(const Scalar* s, const Scalar* passed_on, Scalar* ds) const {
    ds[0] = ds[0] + passed_on[0];
    if constexpr (info.opens) {
      Scalar made[info.opening_values()];
      Stages::template backward<0>(
          StepGradients<Scalar>{.s = s, .dmade = passed_on + 1, .ds = ds, .made = made});
    }
  }
  // dinitial holds the gradient of the states between steps.
  RNNFAST_DEVICE void load_carry(int b, int unit, Scalar* ds) const {
#pragma unroll
    for (int i = 0; i < info.states; ++i) ds[i] = Scalar(args.dinitial[i][args.size.row(b) + unit]);
  }
  RNNFAST_DEVICE void store_carry(int b, int unit, const Scalar* ds) const {
#pragma unroll
    for (int i = 0; i < info.states; ++i) args.dinitial[i][args.size.row(b) + unit] = ds[i].value;
  }
  // Rounds the gradients of gates for the products that multiply them. Stores those that the kernel
  // itself does not store: of the input parts if they differ from the recurrent parts, and of gates
  // without a recurrent product.
  template <int kStage>
  RNNFAST_DEVICE void finish(Place at, Scalar* dx, Scalar* dgate) const {
    const CallSize& size = args.size;
    float* const to = args.dgates_x + size.row(at.t, at.b) * info.gates + at.unit;
    for_each_index<info.gates>([&]<int g>() {
      if constexpr (has_bit(kWrites<Cell, kStage>.gates, g)) {
        constexpr bool multiplies = info.recurrent.of(g) >= 0;
        if (args.bfloat16) {
          dx[g] = rounded(dx[g]);
          dgate[g] = rounded(dgate[g]);
        }
        if constexpr (info.split())
          to[Index(g) * size.hidden] = dx[g].value;
        else if constexpr (!multiplies)
          to[Index(g) * size.hidden] = dgate[g].value;
      }
    });
  }
};

}  // namespace rnnfast::cuda
