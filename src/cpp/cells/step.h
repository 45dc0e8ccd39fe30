#pragma once
// The stages of a cell as the CUDA kernels call them, on arrays indexed across the whole cell.
// python/rnnfast/traced/header.py prints cells in this form; `StepsOf` adapts those of cell.h to
// it.

#include "cells/cell.h"

namespace rnnfast {

// The inputs and results of a stage in the forward pass.
template <class V>
struct StepValues {
  V* slot = nullptr;     // of the step; slot k first holds the input part of gate k
  const V* h = nullptr;  // the recurrent part of the stage's gates
  const V* p = nullptr;  // parameters
  const V* s = nullptr;  // states before the step
  V* next = nullptr;     // states after it
  V* made = nullptr;     // values
};

// The same for the backward pass. The last stage writes ds and dp, and others add to them. The
// latest stage that reads a slot writes its dslot, and earlier ones add to it.
template <class V>
struct StepGradients {
  const V* slot = nullptr;
  const V* p = nullptr;
  const V* s = nullptr;
  const V* next = nullptr;
  const V* dnext = nullptr;  // only for the last stage
  const V* dmade = nullptr;  // of the stage's values
  V* dslot = nullptr;        // of slots of earlier stages that later ones read
  V* dgate = nullptr;        // of gates; of their recurrent part if the input part's differs
  V* dx = nullptr;           // of the input part, if a stage of the cell is split
  V* ds = nullptr;           // of s, without what comes through products
  V* dp = nullptr;
  V* made = nullptr;
};

// The arrays that a stage writes, one bit each.
struct StepWrites {
  unsigned long long slots = 0;   // forward
  unsigned long long dslots = 0;  // backward
  unsigned gates = 0;             // gradients of gates
  unsigned next = 0;              // states after the step

  static_assert(kMaxGates <= 32 && kMaxStates <= 32);
};

RNNFAST_INLINE constexpr bool has_bit(unsigned long long bits, int i) { return bits >> i & 1; }
RNNFAST_INLINE constexpr unsigned long long bits_of(Span span) {
  return span.count ? (~0ull >> (64 - span.count)) << span.first : 0;
}

template <class Cell>
struct Steps {
  static constexpr CellInfo info = Cell::info;
  static_assert(info.slots() <= 64);

  RNNFAST_INLINE static constexpr StepWrites writes(int k) {
    const Stage& stage = info.stages[k];
    StepWrites w;
    w.slots = bits_of({info.first_slot(k), stage.saved});
    w.dslots = bits_of({info.first_seen(k), stage.sees.count});
    w.gates = unsigned(bits_of(stage.gates));
    w.next = k == info.last() ? unsigned(bits_of({0, info.states})) : 0;
    return w;
  }

  // Device code may not read `info` itself, so these are constants: the gates that have a part, one
  // bit each, and the indices of slots that later stages read.
  RNNFAST_INLINE static constexpr unsigned parts(const RowBlocks& blocks) {
    unsigned bits = 0;
    for (int gate = 0; gate < info.gates; ++gate)
      bits |= unsigned(blocks.of(gate) != RowBlocks::kNone) << gate;
    return bits;
  }
  struct Seen {
    signed char place[64] = {};

    RNNFAST_INLINE constexpr Seen(int first, int count) {
      for (int k = 0; k < count; ++k)
        place[k] = static_cast<signed char>(info.seen_place(first + k));
    }
  };

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const StepValues<V>& e) {
    constexpr Stage stage = info.stages[kStage];
    constexpr int first = stage.gates.first, own = info.first_slot(kStage);
    V x[stage.gates.count + 1], h[stage.gates.count + 1], a[stage.gates.count + 1];
    V save[stage.saved + 1];
    constexpr unsigned with_x = parts(info.input), with_h = parts(info.recurrent);
    for (int g = 0; g < stage.gates.count; ++g) {
      const bool has_x = has_bit(with_x, first + g), has_h = has_bit(with_h, first + g);
      if (has_x) a[g] = x[g] = e.slot[first + g];
      if (has_h) a[g] = h[g] = e.h[first + g];
      if (has_x && has_h) a[g] = x[g] + h[g];
    }
    Values<V> values{.p = e.p, .s = e.s, .kept = e.slot, .next = e.next};
    values.made = e.made + info.first_value(kStage);
    values.save = save;
    if constexpr (stage.split)  // arrays that a stage does not declare are null
      values.x = x, values.h = h;
    else
      values.a = a;
    Cell::template forward<kStage>(values);
    for (int k = 0; k < stage.saved; ++k) e.slot[own + k] = save[k];
  }

  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const StepGradients<V>& e) {
    constexpr Stage stage = info.stages[kStage];
    constexpr int first = stage.gates.first, own = info.first_slot(kStage), n = stage.gates.count;
    V dsave[stage.saved + 1], da[n + 1], dx[n + 1], dh[n + 1], dkept[info.slots() + 1];
    constexpr Seen seen(own, stage.saved);
    for (int k = 0; k < stage.saved; ++k)
      if (seen.place[k] >= 0) dsave[k] = e.dslot[seen.place[k]];
    Gradients<V> gradients{e.p,
                           e.s,
                           e.slot,
                           e.slot + own,
                           e.next,
                           e.dnext,
                           e.dmade ? e.dmade + info.first_value(kStage) : nullptr};
    gradients.dsave = dsave;
    if constexpr (stage.split)
      gradients.dx = dx, gradients.dh = dh;
    else
      gradients.da = da;
    gradients.ds = e.ds, gradients.dp = e.dp, gradients.dkept = dkept;
    gradients.made = e.made + info.first_value(kStage);
    Cell::template backward<kStage>(gradients);
    for (int g = 0; g < n; ++g) {
      e.dgate[first + g] = stage.split ? dh[g] : da[g];
      if constexpr (info.split()) e.dx[first + g] = stage.split ? dx[g] : da[g];
    }
    for (int k = 0; k < stage.sees.count; ++k)
      e.dslot[info.first_seen(kStage) + k] = dkept[stage.sees.first + k];
  }
};

namespace detail {
template <class Cell>
struct StepsOf {
  using Type = Steps<Cell>;
};
template <class Cell>
  requires(Cell::kPrinted)
struct StepsOf<Cell> {
  using Type = Cell;
};
}  // namespace detail

template <class Cell>
using StepsOf = typename detail::StepsOf<Cell>::Type;

}  // namespace rnnfast
