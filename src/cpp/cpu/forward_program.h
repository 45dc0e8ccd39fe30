#pragma once
// The pointwise part of the stages of a cell written in Python, in the forward pass; forward_cell.h
// is its counterpart for compiled cells.

#include "cpu/cell_code.h"
#include "cpu/program.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class ForwardProgram {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  using Block = ForwardBlock<T>;
  static constexpr int W = kLanes<T>;

 public:
  static void run(const Block& b) {
    for_pieces(b, [](const ForwardProgram& piece) { piece.step(); });
  }

  // Computes the first step's operands from the initial states.
  static void open(const Block& b) {
    for_pieces(b, [](const ForwardProgram& piece) {
      T* const h = piece.buffers_;
      piece.load_h(h);
      piece.store_operands({h, piece.inner_ * W}, piece.b_.states, 1);
    });
  }

 private:
  // A piece of a block: `outer` rows of one tile or, if `across`, `outer` tiles of one row.
  ForwardProgram(const Block& b, T* buffers, Index tile, Index row, Index outer, int inner,
                 bool across)
      : b_(b),
        l_(b.code->layout),
        buffers_(buffers),
        tile_(tile),
        row_(row),
        outer_(outer),
        inner_(inner),
        across_(across) {}

  template <class Function>
  static void for_pieces(const Block& b, Function&& f) {
    alignas(sizeof(V)) T buffers[kMaxBuffers * Places<T>::kBuffer];
    const Layout<T>& l = b.code->layout;
    Index tile = b.tile;
    const Index end = b.tile + b.tiles;
    if (b.rows == 1) {  // whole tiles together
      const Index whole = l.used_vectors(b.hidden, end - 1) == l.tile_vectors ? end : end - 1;
      for_blocks(whole - tile, kProgramVectors / l.tile_vectors, [&](Index at, Index count) {
        f(ForwardProgram(b, buffers, b.tile + at, b.row, count, l.tile_vectors, true));
      });
      tile = whole;
    }
    for (; tile < end; ++tile) {
      const int inner = l.used_vectors(b.hidden, tile);
      for_blocks(b.rows, kProgramVectors / inner, [&](Index at, Index count) {
        f(ForwardProgram(b, buffers, tile, b.row + at, count, inner, false));
      });
    }
  }

  void step() const {
    const Program& program = b_.code->traced->forward[b_.stage];
    Places<T> places(program, buffers_, 0, outer_, inner_);
    places.each(PlaceKind::state, [&](int, T* h) { load_h(h); });
    places.each(PlaceKind::norm, [&](int norm, T* to) { load_norm(norm, to); });
    places.run([&](PlaceKind kind, int i) { return place(kind, i); });
    places.each(PlaceKind::made, [&](int i, const T* made) { store_value(i, made); });
    if (b_.stage < l_.last) return;
    places.each(PlaceKind::next, [&](int, T* h) {
      if (b_.y)
        for_vectors([&](Index i, Index row, Index unit, int lanes) {
          V::load(h + i).store(b_.y + row * b_.y_stride + unit, lanes);
        });
      store_operands({h, inner_ * W}, b_.new_states, program.buffers);
    });
  }

  // Stores the next step's operands, computed from the new states: h, in a buffer, and the states
  // beyond it.
  void store_operands(Place<T> h, const T* states, int buffers_taken) const {
    if constexpr (F::kRounds) store_operand(h.at, nullptr, b_.h_operand);
    if (!l_.info.opens) return;
    Places<T> places(b_.code->traced->forward[0], buffers_, buffers_taken, outer_, inner_);
    places.run([&](PlaceKind kind, int i) {
      if (kind == PlaceKind::state) return i == 0 ? h : state(states, i);
      return place(kind, i);
    });
    places.each(PlaceKind::made, [&](int i, const T* made) { store_value(i, made); });
  }

  // Returns the address of a place without a buffer.
  RNNFAST_INLINE Place<T> place(PlaceKind kind, int i) const {
    const int units = l_.units;
    switch (kind) {
      case PlaceKind::slot:
        return at(b_.gates + i * units, b_.gates_tile, l_.slot_row);
      case PlaceKind::h:
        return {const_cast<T*>(b_.sums) +
                    ((tile_ - b_.tile) * b_.rows + row_ - b_.row) * l_.gate_row + i * units,
                l_.gate_row};
      case PlaceKind::param:
        return at(const_cast<T*>(b_.params) + i * units, l_.param_row, 0);
      case PlaceKind::state:
        return state(const_cast<T*>(b_.states), i);
      case PlaceKind::next:
        return state(b_.new_states, i);
      default:  // a constant
        return {const_cast<T*>(b_.code->constants) + i * kMaxVectors * W, 0};
    }
  }
  RNNFAST_INLINE Place<T> at(T* base, Index tile_stride, Index row_stride) const {
    return {base + tile_ * tile_stride + row_ * row_stride, across_ ? tile_stride : row_stride};
  }
  RNNFAST_INLINE Place<T> state(const T* states, int i) const {
    return at(const_cast<T*>(states) + (i - 1) * b_.state, b_.states_tile, l_.units);
  }

  // Calls f(index in a buffer, row, unit, lanes) for each vector.
  template <class Function>
  RNNFAST_INLINE void for_vectors(Function&& f) const {
    for (Index o = 0; o < outer_; ++o)
      for (int v = 0; v < inner_; ++v) {
        const Index vector = (tile_ + (across_ ? o : 0)) * l_.tile_vectors + v;
        f((o * inner_ + v) * W, row_ + (across_ ? 0 : o), vector * W, l_.lanes(b_.hidden, vector));
      }
  }
  void load_h(T* to) const {
    for_vectors([&](Index i, Index row, Index unit, int lanes) {
      V::load(b_.h + row * b_.h_stride + unit, lanes).store(to + i);
    });
  }
  void store_value(int i, const T* made) const { store_operand(made, b_.mask, b_.values[i]); }
  void store_operand(const T* from, const T* mask, T* to) const {
    for_vectors([&](Index i, Index row, Index unit, int lanes) {
      V value = V::load(from + i);
      if (mask) value = value * V::load(mask + row * b_.hidden + unit, lanes);
      F::store(value, to + row * b_.operand_row + F::operand_lanes(unit), lanes);
    });
  }
  void load_norm(int norm, T* to) const {
    const Place<T> from = place(PlaceKind::slot, b_.code->traced->norms[norm].slot);
    for (Index o = 0; o < outer_; ++o) {
      const T* moments = b_.moments + (norm * b_.moments_norm + row_ + (across_ ? 0 : o)) * 2;
      for (int v = 0; v < inner_ * W; v += W)
        ((V::load(from.at + o * from.stride + v) - V(moments[0])) * V(moments[1]))
            .store(to + o * inner_ * W + v);
    }
  }

  const Block& b_;
  const Layout<T>& l_;
  T* const buffers_;
  const Index tile_, row_, outer_;
  const int inner_;
  const bool across_;
};

}  // namespace RNNFAST_ISA_NAMESPACE
