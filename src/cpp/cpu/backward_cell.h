#pragma once
// The pointwise part of a cell's stages in the backward pass.

#include "cpu/cell_code.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class Cell, class P>
class BackwardCell {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  using Block = BackwardBlock<T>;
  static constexpr CellInfo info = Cell::info;
  static constexpr Layout<T> layout{info};
  static constexpr int W = kLanes<T>, kUnits = layout.units, kSlotRow = layout.slot_row;
  // Lanes of a row's gate gradients.
  static constexpr Index kGateRow = F::operand_lanes(layout.gate_row);

 public:
  template <int kStage>
  static void run(const Block& b) {
    if (kStage < info.last() || b.product)
      for_rows(b, [&](const Place& at, Index r, const T* product) {
        step<kStage, true>(b, at, r, product);
      });
    else
      for_rows(b,
               [&](const Place& at, Index r, const T*) { step<kStage, false>(b, at, r, nullptr); });
  }

  static void leave(const Block& b) {
    for_rows(b, [&](const Place& at, Index r, const T* product) {
      V s[info.states], ds[info.states];
      load_initial(b, at, r, s);
      load_carry(b, at, r, ds);
      add_products(b, product, s, ds);
      store_carry(b, at, r, ds);
    });
  }

 private:
  // One vector of units.
  struct Place {
    int lanes;
    Index tile, at;  // the vector's first unit in its tile
    Index unit;      // and among all units

    RNNFAST_INLINE Place(const Block& b, Index vector)
        : lanes(layout.lanes(b.hidden, vector)),
          tile(layout.tile_of(vector)),
          at(layout.place_of(vector) * W),
          unit(vector * W) {}
  };

  // Calls f(place, sequence, offset of its product) for each vector of the block.
  template <class Function>
  static RNNFAST_INLINE void for_rows(const Block& b, Function&& f) {
    for (Index v = 0; v < b.vectors; ++v) {
      const Place at(b, b.vector + v);
      for (Index r = 0; r < b.rows; ++r) f(at, b.row + r, b.product + (r * b.vectors + v) * W);
    }
  }

  static RNNFAST_INLINE void load_states(const Block& b, const Place& at, Index r, const T* h,
                                         Index h_stride, const T* states, V* s) {
    s[0] = info.projects ? V(0) : V::load(h + r * h_stride + at.unit, at.lanes);
    for (int i = 1; i < info.states; ++i)
      s[i] = V::load(states + (i - 1) * b.state + at.tile * b.states_tile + r * kUnits + at.at);
  }
  static RNNFAST_INLINE void load_initial(const Block& b, const Place& at, Index r, V* s) {
    load_states(b, at, r, b.h0, b.h0_stride, b.states0, s);
  }
  static RNNFAST_INLINE void load_before(const Block& b, const Place& at, Index r, V* s) {
    if (r >= b.continued) return load_initial(b, at, r, s);
    load_states(b, at, r, b.h_before, b.y_stride, b.states_before, s);
  }
  static RNNFAST_INLINE T* carry(const Block& b, const Place& at, Index r) {
    return b.carry + at.tile * b.carry_tile + r * kUnits + at.at;
  }
  static RNNFAST_INLINE void load_carry(const Block& b, const Place& at, Index r, V* ds) {
    for (int i = 0; i < info.states; ++i) ds[i] = V::load(carry(b, at, r) + i * b.carry_state);
  }
  static RNNFAST_INLINE void store_carry(const Block& b, const Place& at, Index r, const V* ds) {
    for (int i = 0; i < info.states; ++i) ds[i].store(carry(b, at, r) + i * b.carry_state);
  }
  // The gradient of a slot, passed from the later stage that reads it to the stage that saved it.
  static RNNFAST_INLINE T* dkept(const Block& b, const Place& at, Index r, int slot) {
    return b.dkept + at.tile * b.dkept_tile + r * layout.seen_row + info.seen_place(slot) * kUnits +
           at.at;
  }
  static RNNFAST_INLINE T* dparams(const Block& b, const Place& at, Index r) {
    return b.dparams + at.tile * b.dparams_tile + r * layout.param_row + at.at;
  }

  // Computes the gradients of a stage's values from those of the products that multiply them. The
  // opening stage's products are group 0.
  template <int kStage>
  static RNNFAST_INLINE void load_products(const Block& b, const T* product, V* dmade) {
    constexpr int kGroup = kStage < info.first() ? 0 : kStage + 1;
    for (int i = layout.products.group[kGroup]; i < layout.products.group[kGroup + 1]; ++i) {
      const int p = layout.products.made[i];
      const Operand operand = layout.products.item[p].operand;
      if (operand.from == Operand::kValue)
        dmade[operand.index - info.first_value(kStage)] = V::load(product + p * b.product_size);
    }
  }
  // Adds the gradient that came through the next step's products to that of the states s.
  static RNNFAST_INLINE void add_products(const Block& b, const T* product, const V* s, V* ds) {
    for (int i = 0; i < layout.products.group[1]; ++i) {
      const int p = layout.products.made[i];
      if (layout.products.item[p].operand.from == Operand::kState)
        ds[0] = ds[0] + V::load(product + p * b.product_size);
    }
    if constexpr (info.opens) {
      V dmade[info.opening_values()], made[info.opening_values()];
      load_products<0>(b, product, dmade);
      Cell::template backward<0>(Gradients<V>{.s = s, .dmade = dmade, .ds = ds, .made = made});
    }
  }

  // Loads what the forward pass saved for a stage.
  template <int kStage>
  static RNNFAST_INLINE void load_kept(const Block& b, const Place& at, Index r, V* p, V* kept,
                                       V* save) {
    constexpr Stage stage = info.stages[kStage];
    const T* slots = b.saved + at.tile * b.saved_tile + r * kSlotRow + at.at;
    for (int k = 0; k < stage.saved; ++k)
      save[k] = V::load(slots + (info.first_slot(kStage) + k) * kUnits);
    for (int k = stage.sees.first; k < stage.sees.end(); ++k) kept[k] = V::load(slots + k * kUnits);
    for (int i = 0; i < info.params; ++i)
      p[i] = V::load(b.params + at.tile * layout.param_row + i * kUnits + at.at);
  }
  template <int kStage>
  static RNNFAST_INLINE void store_gates(const Block& b, const Place& at, Index r, const V* dx,
                                         const V* dh) {
    constexpr Span gates = info.stages[kStage].gates;
    const Index row = at.tile * b.gates_tile + r * kGateRow + F::operand_lanes(at.at);
    for (int g = 0; g < gates.count; ++g) {
      const Index to = row + F::operand_lanes((gates.first + g) * kUnits);
      F::store(dh[g], b.dh + to);
      if constexpr (info.split()) F::store(dx[g], b.dx + to);
    }
  }
  template <int kStage>
  static RNNFAST_INLINE void store_values(const Block& b, const Place& at, Index r, const V* made) {
    for (int i = 0; i < info.stages[kStage].values; ++i)
      made[i].store(b.values[info.first_value(kStage) + i] + r * b.hidden + at.unit, at.lanes);
  }

  // Runs a stage's backward on one vector of units of sequence r. kContinues: a later step or stage
  // multiplied the stage's results.
  template <int kStage, bool kContinues>
  static RNNFAST_INLINE void step(const Block& b, const Place& at, Index r, const T* product) {
    constexpr Stage stage = info.stages[kStage];
    constexpr bool is_last = kStage == info.last();
    constexpr int kOwn = info.first_slot(kStage), n = stage.gates.count;
    V p[info.params + 1], s[info.states], next[info.states], kept[info.slots()];
    V save[stage.saved + 1], dnext[info.states], dmade[stage.values + 1], dsave[stage.saved + 1];
    V da[n], dx[n], dh[n], ds[info.states], dp[info.params + 1], dseen[info.slots()];
    V made[stage.values + 1];
    load_kept<kStage>(b, at, r, p, kept, save);
    load_before(b, at, r, s);
    if constexpr (is_last) {
      load_states(b, at, r, b.h, b.h_stride, b.states, next);
      load_carry(b, at, r, dnext);
      if constexpr (kContinues) add_products(b, product, next, dnext);
      // Add dy last: a segment that resumes from another's dinitial must add in the same order, or
      // the bits would change.
      if (b.dy) dnext[0] = dnext[0] + V::load(b.dy + r * b.y_stride + at.unit, at.lanes);
    } else {
      load_products<kStage>(b, product, dmade);
      load_carry(b, at, r, ds);
      for (int i = 0; i < info.params; ++i) dp[i] = V::load(dparams(b, at, r) + i * kUnits);
      for (int k = 0; k < stage.saved; ++k)
        if (info.seen_place(kOwn + k) >= 0) dsave[k] = V::load(dkept(b, at, r, kOwn + k));
    }
    Gradients<V> e{p, s, kept, save, next, dnext, dmade, dsave};
    e.ds = ds, e.dp = dp, e.dkept = dseen, e.made = made;
    if constexpr (stage.split)  // arrays that a stage does not declare are null
      e.dx = dx, e.dh = dh;
    else
      e.da = da;
    Cell::template backward<kStage>(e);
    store_gates<kStage>(b, at, r, stage.split ? dx : da, stage.split ? dh : da);
    store_carry(b, at, r, ds);
    for (int i = 0; i < info.params; ++i) dp[i].store(dparams(b, at, r) + i * kUnits);
    for (int k = stage.sees.first; k < stage.sees.end(); ++k) dseen[k].store(dkept(b, at, r, k));
    if constexpr (!is_last) store_values<kStage>(b, at, r, made);
    if constexpr (is_last && info.projects)
      if (b.made_h) made[0].store(b.made_h + r * b.made_h_row + at.unit);
    if constexpr (is_last && info.opens) {  // recomputed for the weights' gradients
      V opening[info.opening_values()];
      Cell::template forward<0>(Values<V>{.s = s, .made = opening});
      store_values<0>(b, at, r, opening);
    }
  }
};

}  // namespace RNNFAST_ISA_NAMESPACE
