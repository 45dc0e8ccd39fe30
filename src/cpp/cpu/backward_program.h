#pragma once
// The pointwise part of the stages of a cell written in Python, in the backward pass;
// backward_cell.h is its counterpart for compiled cells.

#include "cpu/cell_code.h"
#include "cpu/program.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class BackwardProgram {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  using Block = BackwardBlock<T>;
  static constexpr int W = kLanes<T>;

 public:
  static void run(const Block& b) {
    for_pieces(b, [](const BackwardProgram& piece) { piece.step(); });
  }

  // Adds the gradient that comes through the first step's products to that of the initial states.
  static void leave(const Block& b) {
    for_pieces(b, [](const BackwardProgram& piece) {
      T* const h = piece.buffers_;
      piece.load_rows(piece.b_.h0, piece.b_.h0_stride, h);
      piece.add_products({h, piece.inner_ * W}, piece.b_.states0, 1,
                         [&](int i) { return piece.carry(i); });
    });
  }

 private:
  // A piece of a block: `outer` rows of one tile or, if `across`, `outer` tiles of one row.
  BackwardProgram(const Block& b, T* buffers, Index vector, Index row, Index outer, int inner,
                  bool across)
      : b_(b),
        l_(b.code->layout),
        buffers_(buffers),
        vector_(vector),
        tile_(l_.tile_of(vector)),
        unit_(l_.place_of(vector) * W),
        row_(row),
        outer_(outer),
        inner_(inner),
        across_(across),
        continues_(row < b.continued) {}

  template <class Function>
  static void for_pieces(const Block& b, Function&& f) {
    alignas(sizeof(V)) T buffers[kMaxBuffers * Places<T>::kBuffer];
    const Layout<T>& l = b.code->layout;
    const Index end = b.vector + b.vectors;
    for (Index v = b.vector; v < end;) {
      const Index whole = (end - v) >> l.tile_shift;
      if (b.rows == 1 && l.place_of(v) == 0 && whole > 0) {  // whole tiles together
        const Index count = min_index(whole, kProgramVectors / l.tile_vectors);
        f(BackwardProgram(b, buffers, v, b.row, count, l.tile_vectors, true));
        v += count * l.tile_vectors;
        continue;
      }
      const int inner = int(min_index(end - v, l.tile_vectors - l.place_of(v)));
      // Rows with a step before this one read their previous states from another place than the
      // rest.
      const Index continuing = max_index(0, min_index(b.rows, b.continued - b.row));
      const auto rows = [&](Index first, Index count) {
        for_blocks(count, kProgramVectors / inner, [&](Index at, Index some) {
          f(BackwardProgram(b, buffers, v, b.row + first + at, some, inner, false));
        });
      };
      rows(0, continuing);
      rows(continuing, b.rows - continuing);
      v += inner;
    }
  }

  void step() const {
    const TracedCell& cell = *b_.code->traced;
    const Program& program = cell.backward[b_.stage];
    const bool is_last = b_.stage == l_.last;
    Places<T> places(program, buffers_, 0, outer_, inner_);
    if (is_last) load_dnext(places, program.buffers);
    places.each(PlaceKind::state, [&](int, T* h) { load_h_before(h); });
    places.each(PlaceKind::next, [&](int, T* h) { load_rows(b_.h, b_.h_stride, h); });
    places.each(PlaceKind::dmade, [&](int i, T* to) { sum_products(i, to); });
    places.each(PlaceKind::dsource, [&](int i, T* to) { load_dsource(i, to); });
    places.run([&](PlaceKind kind, int i) { return place(kind, i); }, F::kRounds);
    places.each(PlaceKind::dgate, [&](int gate, const T* buffer) {
      if (F::kRounds)
        store_gate(gate, buffer);
      else if (has_padding())
        clear_padding(place(PlaceKind::dgate, gate));
    });
    places.each(PlaceKind::made, [&](int i, const T* made) { store_value(i, made); });
    if (is_last && l_.info.opens) make_opening_values();
  }

  // Loads the gradients of the states after the step into the program's first buffers: the sum of
  // what came back from later steps, through the states and through products, and dy.
  void load_dnext(const Places<T>& places, int buffers_taken) const {
    const auto dnext = [&](int i) { return places.buffer(i); };
    for (int i = 1; i < l_.info.states; ++i) load_carry(i, dnext(i).at);
    // Add dy last: a segment that resumes from another's dinitial must add in the same order, or
    // the bits would change.
    if (!l_.info.opens) return load_dh(dnext(0).at);
    load_carry(0, dnext(0).at);
    if (b_.product) {
      T* h = buffers_ + buffers_taken * Places<T>::kBuffer;
      load_rows(b_.h, b_.h_stride, h);
      add_products({h, inner_ * W}, b_.states, buffers_taken + 1, dnext);
    }
    if (b_.dy) add_rows(b_.dy, b_.y_stride, dnext(0).at);
  }
  void load_carry(int i, T* to) const {
    const Place<T> from = carry(i);
    fill(to, [&](Index, Index o, int v, Index, Index, int) { return read(from, o, v); });
  }
  // Loads the gradient of h in one pass, which works without an opening stage.
  void load_dh(T* to) const {
    const Place<T> from = carry(0);
    Place<T> products[kAllProducts];
    int count = 0;
    for (int i = 0; b_.product && i < l_.products.group[1]; ++i) {
      const int p = l_.products.made[i];
      if (l_.products.item[p].operand.from == Operand::kState) products[count++] = product(p);
    }
    fill(to, [&](Index, Index o, int v, Index row, Index unit, int lanes) {
      V sum = read(from, o, v);
      for (int i = 0; i < count; ++i) sum = sum + read(products[i], o, v);
      return b_.dy ? sum + V::load(b_.dy + row * b_.y_stride + unit, lanes) : sum;
    });
  }

  // Adds the gradient that came through a step's products to those of the states before it: to h's
  // directly, and to all of them through the opening program.
  template <class Gradients>
  void add_products(Place<T> h, const T* states, int buffers_taken, Gradients&& dstate) const {
    const Place<T> dh = dstate(0);
    for (int i = 0; i < l_.products.group[1]; ++i) {
      const int p = l_.products.made[i];
      if (l_.products.item[p].operand.from != Operand::kState) continue;
      const Place<T> from = product(p);
      for_vectors([&](Index, Index o, int v, Index, Index, int) {
        T* to = dh.at + o * dh.stride + v * W;
        (V::load(to) + read(from, o, v)).store(to);
      });
    }
    if (!l_.info.opens) return;
    Places<T> places(b_.code->traced->backward[0], buffers_, buffers_taken, outer_, inner_);
    places.each(PlaceKind::dmade, [&](int i, T* to) { sum_products(i, to); });
    places.run([&](PlaceKind kind, int i) {
      if (kind == PlaceKind::state) return i == 0 ? h : state(states, i);
      if (kind == PlaceKind::dstate) return dstate(i);
      return place(kind, i);
    });
  }

  // Recomputes the opening program's values from the states before the step, for the weights'
  // gradients.
  void make_opening_values() const {
    T* const h = buffers_;
    load_h_before(h);
    Places<T> places(b_.code->traced->forward[0], buffers_, 1, outer_, inner_);
    places.run([&](PlaceKind kind, int i) {
      if (kind == PlaceKind::state && i == 0) return Place<T>{h, inner_ * W};
      return place(kind, i);
    });
    places.each(PlaceKind::made, [&](int i, const T* made) { store_value(i, made); });
  }

  // Returns the address of a place without a buffer.
  RNNFAST_INLINE Place<T> place(PlaceKind kind, int i) const {
    const int units = l_.units;
    switch (kind) {
      case PlaceKind::slot:
        return at(b_.saved + i * units, b_.saved_tile, l_.slot_row);
      case PlaceKind::param:
        return at(b_.params + i * units, l_.param_row, 0);
      case PlaceKind::state:
        return continues_ ? state(b_.states_before, i) : state(b_.states0, i);
      case PlaceKind::next:
        return state(b_.states, i);
      case PlaceKind::product:
        return product(i);
      case PlaceKind::dslot:
        return at(b_.dkept + i * units, b_.dkept_tile, l_.seen_row);
      case PlaceKind::dgate:
        return at(b_.dh + i * units, b_.gates_tile, l_.gate_row);
      case PlaceKind::dstate:
        return carry(i);
      case PlaceKind::dparam:
        return at(b_.dparams + i * units, b_.dparams_tile, l_.param_row);
      case PlaceKind::dnorm:
        return at(b_.dnorms + i * units, b_.dnorms_tile, b_.code->traced->norm_count * units);
      default:  // a constant
        return {const_cast<T*>(b_.code->constants) + i * kMaxVectors * W, 0};
    }
  }
  RNNFAST_INLINE Place<T> at(const T* base, Index tile_stride, Index row_stride) const {
    return {const_cast<T*>(base) + tile_ * tile_stride + row_ * row_stride + unit_,
            across_ ? tile_stride : row_stride};
  }
  RNNFAST_INLINE Place<T> state(const T* states, int i) const {
    return at(states + (i - 1) * b_.state, b_.states_tile, l_.units);
  }
  RNNFAST_INLINE Place<T> carry(int i) const {
    return at(b_.carry + i * b_.carry_state, b_.carry_tile, l_.units);
  }
  RNNFAST_INLINE Place<T> product(int p) const {
    const T* from =
        b_.product + p * b_.product_size + ((row_ - b_.row) * b_.vectors + vector_ - b_.vector) * W;
    return {const_cast<T*>(from), (across_ ? l_.tile_vectors : b_.vectors) * W};
  }

  // Calls f(index in a buffer, row or tile of the piece, vector of it, sequence, unit, lanes).
  template <class Function>
  RNNFAST_INLINE void for_vectors(Function&& f) const {
    for (Index o = 0; o < outer_; ++o)
      for (int v = 0; v < inner_; ++v) {
        const Index vector = vector_ + v + (across_ ? o * l_.tile_vectors : 0);
        f((o * inner_ + v) * W, o, v, row_ + (across_ ? 0 : o), vector * W,
          l_.lanes(b_.hidden, vector));
      }
  }
  // Fills a buffer with the vectors that f returns.
  template <class Function>
  RNNFAST_INLINE void fill(T* to, Function&& f) const {
    for_vectors([&](Index at, Index o, int v, Index row, Index unit, int lanes) {
      f(at, o, v, row, unit, lanes).store(to + at);
    });
  }
  static RNNFAST_INLINE V read(Place<T> from, Index o, int v) {
    return V::load(from.at + o * from.stride + v * W);
  }
  void load_rows(const T* from, Index stride, T* to) const {
    fill(to, [&](Index, Index, int, Index row, Index unit, int lanes) {
      return V::load(from + row * stride + unit, lanes);
    });
  }
  void add_rows(const T* from, Index stride, T* to) const {
    fill(to, [&](Index at, Index, int, Index row, Index unit, int lanes) {
      return V::load(to + at) + V::load(from + row * stride + unit, lanes);
    });
  }
  void load_h_before(T* to) const {
    if (continues_)
      load_rows(b_.h_before, b_.y_stride, to);
    else
      load_rows(b_.h0, b_.h0_stride, to);
  }
  // Sums the gradient of a value over the products that multiply it.
  void sum_products(int value, T* to) const {
    bool is_first = true;
    for (int p = 0; p < l_.products.size; ++p) {
      const Operand operand = l_.products.item[p].operand;
      if (operand.from != Operand::kValue || operand.index != value) continue;
      const Place<T> from = product(p);
      fill(to, [&](Index at, Index o, int v, Index, Index, int) {
        const V term = read(from, o, v);
        return is_first ? term : V::load(to + at) + term;
      });
      is_first = false;
    }
  }
  // Computes the gradient of a norm's operand, (d - mean(d) - n mean(d n)) / deviation, where n is
  // the normalised operand.
  void load_dsource(int norm, T* to) const {
    const TracedCell& cell = *b_.code->traced;
    const Place<T> from = place(PlaceKind::slot, cell.norms[norm].slot);
    const Place<T> d = place(PlaceKind::dnorm, norm);
    fill(to, [&](Index, Index o, int v, Index row, Index, int) {
      const T* moments = b_.moments + (norm * b_.moments_norm + row) * 4;
      const V n = (read(from, o, v) - V(moments[0])) * V(moments[1]);
      const V centred = read(d, o, v) - V(moments[2]);
      return (centred - n * V(moments[3])) * V(moments[1]);
    });
  }
  // The lanes beyond the last unit hold what the equations make of zeros, which can be infinite or
  // NaN, as in 1 / h. In gradients of gates, which are multiplied by the weights' zeros, they must
  // be zeros.
  bool has_padding() const {
    const Index last = vector_ + (across_ ? (outer_ - 1) * l_.tile_vectors : 0) + inner_ - 1;
    return l_.lanes(b_.hidden, last) < W;
  }
  void clear_padding(Place<T> gate) const {
    for_vectors([&](Index, Index o, int v, Index, Index, int lanes) {
      T* to = gate.at + o * gate.stride + v * W;
      if (lanes < W) V::load(to, lanes).store(to);
    });
  }
  void store_gate(int gate, const T* from) const {
    const Index row = F::operand_lanes(l_.gate_row);
    for_vectors([&](Index at, Index o, int v, Index, Index, int lanes) {
      F::store(V::load(from + at, lanes), b_.dh + (tile_ + (across_ ? o : 0)) * b_.gates_tile +
                                              (row_ + (across_ ? 0 : o)) * row +
                                              F::operand_lanes(gate * l_.units + unit_ + v * W));
    });
  }
  void store_value(int i, const T* from) const {
    for_vectors([&](Index at, Index, int, Index row, Index unit, int lanes) {
      V::load(from + at).store(b_.values[i] + row * b_.hidden + unit, lanes);
    });
  }

  const Block& b_;
  const Layout<T>& l_;
  T* const buffers_;
  const Index vector_, tile_, unit_;
  const Index row_, outer_;
  const int inner_;
  const bool across_;
  const bool continues_;  // whether its sequences had a step before this one
};

}  // namespace RNNFAST_ISA_NAMESPACE
