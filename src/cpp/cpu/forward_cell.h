#pragma once
// The pointwise part of a cell's stages in the forward pass.

#include "cpu/cell_code.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class Cell, class P>
class ForwardCell {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  using Block = ForwardBlock<T>;
  static constexpr CellInfo info = Cell::info;
  static constexpr Layout<T> layout{info};
  static constexpr int W = kLanes<T>, kUnits = layout.units, kSlotRow = layout.slot_row;

 public:
  template <int kStage>
  static void run(const Block& b) {
    const T* sums = b.sums;
    for (Index tile = b.tile; tile < b.tile + b.tiles; ++tile, sums += b.rows * layout.gate_row)
      for (int v = 0; v < layout.used_vectors(b.hidden, tile); ++v)
        for (Index r = 0; r < b.rows; ++r)
          step<kStage>(b, tile, v, b.row + r, sums + r * layout.gate_row + v * W);
  }

  // Computes the first step's operands from the initial states.
  static void open(const Block& b) {
    for (Index tile = b.tile; tile < b.tile + b.tiles; ++tile)
      for (int v = 0; v < layout.used_vectors(b.hidden, tile); ++v)
        for (Index r = b.row; r < b.row + b.rows; ++r) {
          const Place at(b, tile, v, r);
          V s[info.states];
          load_states(b, at, r, s);
          if constexpr (info.projects) s[0] = load_h(b, at, r);
          store_operands(b, at, r, s);
        }
  }

 private:
  // One vector of units of sequence r.
  struct Place {
    int lanes;
    Index unit;   // of h and y
    Index state;  // of a state's values
    Index operand;

    RNNFAST_INLINE Place(const Block& b, Index tile, int v, Index r)
        : lanes(layout.lanes(b.hidden, tile * layout.tile_vectors + v)),
          unit(tile * kUnits + v * W),
          state(tile * b.states_tile + r * kUnits + v * W),
          operand(r * b.operand_row + F::operand_lanes(unit)) {}
  };

  static RNNFAST_INLINE V load_h(const Block& b, const Place& at, Index r) {
    return V::load(b.h + r * b.h_stride + at.unit, at.lanes);
  }
  static RNNFAST_INLINE void load_states(const Block& b, const Place& at, Index r, V* s) {
    s[0] = info.projects ? V(0) : load_h(b, at, r);
    for (int i = 1; i < info.states; ++i) s[i] = V::load(b.states + (i - 1) * b.state + at.state);
  }

  template <int kStage>
  static RNNFAST_INLINE void step(const Block& b, Index tile, int v, Index r, const T* sums) {
    constexpr Stage stage = info.stages[kStage];
    constexpr bool is_last = kStage == info.last();
    constexpr int n = stage.gates.count;
    const Place at(b, tile, v, r);
    T* const slots = b.gates + tile * b.gates_tile + r * kSlotRow + v * W;
    V x[n], h[n], a[n], p[info.params + 1], s[info.states], next[info.states];
    V kept[info.slots()], save[stage.saved + 1], made[stage.values + 1];
    for (int g = 0; g < n; ++g) {
      const int gate = stage.gates.first + g;
      const bool has_x = info.input.of(gate) != RowBlocks::kNone,
                 has_h = info.recurrent.of(gate) >= 0;
      if (has_x) a[g] = x[g] = V::load(slots + gate * kUnits);
      if (has_h) a[g] = h[g] = V::load(sums + gate * kUnits);
      if (has_x && has_h) a[g] = x[g] + h[g];
    }
    for (int k = stage.sees.first; k < stage.sees.end(); ++k) kept[k] = V::load(slots + k * kUnits);
    for (int i = 0; i < info.params; ++i)
      p[i] = V::load(b.params + tile * layout.param_row + i * kUnits + v * W);
    load_states(b, at, r, s);

    Values<V> e{.p = p, .s = s, .kept = kept, .next = next, .made = made, .save = save};
    if constexpr (stage.split)  // arrays that a stage does not declare are null
      e.x = x, e.h = h;
    else
      e.a = a;
    Cell::template forward<kStage>(e);
    if constexpr (is_last) {
      if (b.y) next[0].store(b.y + r * b.y_stride + at.unit, at.lanes);
      for (int i = 1; i < info.states; ++i)
        next[i].store(b.new_states + (i - 1) * b.state + at.state);
      store_operands(b, at, r, next);
    } else {
      for (int i = 0; i < stage.values; ++i)
        store_value(b, at, r, made[i], info.first_value(kStage) + i);
    }
    if (b.keeps_gates || !is_last)  // later stages may see them
      for (int k = 0; k < stage.saved; ++k)
        save[k].store(slots + (info.first_slot(kStage) + k) * kUnits);
  }

  // Stores the next step's operands, computed from the states s.
  static RNNFAST_INLINE void store_operands(const Block& b, const Place& at, Index r, const V* s) {
    if constexpr (F::kRounds) F::store(s[0], b.h_operand + at.operand, at.lanes);
    if constexpr (info.opens) {
      V made[info.opening_values()];
      Cell::template forward<0>(Values<V>{.s = s, .made = made});
      for (int i = 0; i < info.opening_values(); ++i) store_value(b, at, r, made[i], i);
    }
  }
  static RNNFAST_INLINE void store_value(const Block& b, const Place& at, Index r, V made, int i) {
    if (b.mask) made = made * V::load(b.mask + r * b.hidden + at.unit, at.lanes);
    F::store(made, b.values[i] + at.operand, at.lanes);
  }
};

}  // namespace RNNFAST_ISA_NAMESPACE
