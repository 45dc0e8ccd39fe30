#pragma once
// Noise inside the steps, the same for every cell: zoneout, by which units keep their old states,
// and dropout of the recurrent products' operands. The drivers apply it around a cell's functions,
// which only multiply their values by the dropout mask. Candidate dropout is part of some cells'
// equations; they find its mask in a slot.

#include "core/noise.h"
#include "cpu/backward_workspace.h"
#include "cpu/drop.h"
#include "cpu/forward_workspace.h"

namespace RNNFAST_ISA_NAMESPACE {

// The masks of one layer and direction, for packed sequences.
template <class T>
class NoiseMasks {
 public:
  static constexpr Index kMost = kMaxVectors * kLanes<T>;  // most units per call of `held`

  explicit NoiseMasks(const LayerSize& size) : noise_(size.noise), rows_(size.rows) {}

  // Draws the dropout mask of the recurrent products' operands, (B, H), the same in every step, for
  // the units of some tiles.
  void dropout(const Layout<T>& l, Index hidden, Range tiles, T* to) const {
    const auto mask =
        noise_mask<T>(noise_.recurrent_dropout, noise_.seed, noise_.cell, kRecurrentDropout);
    const Index unit = tiles.begin * l.units;
    const Index count = min_index(hidden, tiles.end * l.units) - unit;
    for (Index row = 0; row < rows_.batch; ++row)
      draw(mask, row, unit, count, to + row * hidden + unit);
  }

  // Draws how much of its old value state s keeps in step t: 0 or 1, or the expectation.
  void held(int s, Index t, Index row, Index unit, Index count, T* to) const {
    const double p = noise_.zoneout[s];
    if (noise_.expects || p == 0) {
      for (Index j = 0; j < count; ++j) to[j] = T(p);
      return;
    }
    const Index step = rows_.step_of(t, row);
    draw(noise_mask<T>(p, noise_.seed, noise_.cell, kZoneout + s, step), row, unit, count, to);
    for (Index j = 0; j < count; ++j) to[j] = to[j] == T(0) ? T(1) : T(0);
  }

  // Draws the dropout mask of the candidate of step t.
  void candidate(Index t, Index row, Index unit, Index count, T* to) const {
    draw(noise_mask<T>(noise_.candidate_dropout, noise_.seed, noise_.cell, kCandidateDropout,
                       rows_.step_of(t, row)),
         row, unit, count, to);
  }

 private:
  void draw(const Dropout<T>& mask, Index row, Index unit, Index count, T* to) const {
    const Index first = noise_row(rows_.sequence[row]) + unit;
    if (count <= 16)
      drop<T, 4>(nullptr, first, count, mask, to);
    else
      drop<T>(nullptr, first, count, mask, to);
  }

  const LayerNoise& noise_;
  const PackedRows& rows_;
};

// Returns h a + (1 - h) b; exact where h is 0 or 1, even if the other operand is not finite.
template <class T>
RNNFAST_INLINE Vec<T> blend(Vec<T> h, Vec<T> a, Vec<T> b) {
  const typename Vec<T>::Raw mixed = h.v * a.v + (T(1) - h.v) * b.v;
  return h.v == T(0) ? b.v : h.v == T(1) ? a.v : mixed;
}

template <class P>
class ForwardNoise {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  static constexpr int W = kLanes<T>;

 public:
  ForwardNoise(const CellCode<T>& cell, const ForwardArgs<T>& args, const ForwardWorkspace<P>& work)
      : cell_(cell),
        l_(cell.layout),
        args_(args),
        rows_(args.size.rows),
        H_(args.size.hidden_size),
        zones_(args.size.noise.zones),
        drops_(args.size.noise.drops()),
        work_(work),
        masks_(args.size) {}

  bool any() const { return zones_ || drops_; }
  const T* mask() const { return drops_ ? work_.mask : nullptr; }

  void prepare(Range tiles) const {
    if (drops_) masks_.dropout(l_, H_, tiles, work_.mask);
  }

  // Writes the candidate's masks to their slot, for a thread's rows of a chunk. `slots` points at
  // packed row `first`.
  __attribute__((noinline)) void mask_candidates(const Chunk& chunk, const Partition& own,
                                                 Index first, Index slots_tile, T* slots) const {
    if (l_.info.mask < 0) return;
    for (Index t = min_index(chunk.first, chunk.last); t <= max_index(chunk.first, chunk.last); ++t)
      for (Index row = own.batch.begin; row < min_index(own.batch.end, rows_.count(t)); ++row)
        for (Index tile = own.tiles.begin; tile < own.tiles.end; ++tile)
          masks_.candidate(t, row, tile * l_.units, l_.units,
                           slots + tile * slots_tile +
                               (rows_.offset[t] + row - first) * l_.slot_row +
                               l_.info.mask * l_.units);
  }

  // With zoneout, makes the cell's function store the states of step t in a separate place.
  void redirect(ForwardBlock<T>& b, Index t, T* states) const {
    if (!zones_) return;
    const bool training = args_.size.training;
    const Index row = rows_.offset[t];
    b.y = training ? args_.made + row * H_ : work_.made;
    b.y_stride = H_;
    b.new_states =
        states +
        (training ? rows_.batch + rows_.total() + row : work_.kVersions * rows_.batch) * l_.units;
  }

  // Finishes step t on a block that the cell has run: writes the states after it to h, row stride
  // y_stride, and to `states`, with the block's strides.
  __attribute__((noinline)) void finish(const ForwardBlock<T>& b, Index t, T* h, T* states) const {
    if (zones_) {
      blend_states(b, t, h, states);
      if (F::kRounds || l_.opening_values > 0) {  // redo the operands, made without zoneout
        ForwardBlock<T> after = b;
        after.h = h, after.h_stride = args_.y_stride;
        after.states = states;
        cell_.open(after);
      }
    }
    drop_h(b, h, args_.y_stride);
  }

  // Stores h with dropout as the next step's operand.
  void drop_h(const ForwardBlock<T>& b, const T* h, Index stride) const {
    if (!drops_) return;
    for_vectors(b, [&](Index r, Index, int, Index unit, int lanes) {
      const V mask = V::load(work_.mask + r * H_ + unit, lanes);
      F::store(V::load(h + r * stride + unit, lanes) * mask,
               b.h_operand + r * b.operand_row + F::operand_lanes(unit), lanes);
    });
  }

 private:
  // Calls f(sequence, tile, vector in the tile, unit, lanes) for the vectors of a block.
  template <class Function>
  RNNFAST_INLINE void for_vectors(const ForwardBlock<T>& b, Function&& f) const {
    for (Index tile = b.tile; tile < b.tile + b.tiles; ++tile)
      for (Index r = b.row; r < b.row + b.rows; ++r)
        for (int v = 0; v < l_.used_vectors(H_, tile); ++v)
          f(r, tile, v, tile * l_.units + v * W, l_.lanes(H_, tile * l_.tile_vectors + v));
  }

  void blend_states(const ForwardBlock<T>& b, Index t, T* h, T* states) const {
    T held[NoiseMasks<T>::kMost];
    for (int s = 0; s < l_.info.states; ++s)
      for_vectors(b, [&](Index r, Index tile, int v, Index unit, int lanes) {
        if (v == 0) masks_.held(s, t, r, unit, l_.used_vectors(H_, tile) * W, held);
        const V part = V::load(held + v * W);
        if (s > 0) {
          const Index at = (s - 1) * b.state + tile * b.states_tile + r * l_.units + v * W;
          blend(part, V::load(b.states + at), V::load(b.new_states + at)).store(states + at);
        } else if (!args_.recomputing) {
          blend(part, V::load(b.h + r * b.h_stride + unit, lanes),
                V::load(b.y + r * b.y_stride + unit, lanes))
              .store(h + r * args_.y_stride + unit, lanes);
        }
      });
  }

  const CellCode<T>& cell_;
  const Layout<T>& l_;
  const ForwardArgs<T>& args_;
  const PackedRows& rows_;
  const Index H_;
  const bool zones_, drops_;
  const ForwardWorkspace<P>& work_;
  const NoiseMasks<T> masks_;
};

template <class P>
class BackwardNoise {
  using T = RealOf<P>;
  using V = Vec<T>;
  static constexpr int W = kLanes<T>;

 public:
  BackwardNoise(const CellCode<T>& cell, const BackwardArgs<T>& args,
                const BackwardWorkspace<P>& work)
      : cell_(cell),
        l_(cell.layout),
        args_(args),
        rows_(args.size.rows),
        H_(args.size.hidden_size),
        zones_(args.size.noise.zones),
        drops_(args.size.noise.drops()),
        work_(work),
        masks_(args.size) {}

  bool any() const { return zones_ || drops_; }

  void prepare(Range tiles) const {
    if (drops_) masks_.dropout(l_, H_, tiles, work_.mask);
  }

  // Applies the mask to some vectors and rows of the gradient of a product's operand.
  __attribute__((noinline)) void drop_product(T* product, Index vector, Index vectors, Index row,
                                              Index rows) const {
    if (!drops_) return;
    for (Index r = row; r < row + rows; ++r)
      for (Index v = vector; v < vector + vectors; ++v, product += W) {
        const V mask = V::load(work_.mask + r * H_ + v * W, l_.lanes(H_, v));
        (V::load(product) * mask).store(product);
      }
  }

  // Runs a stage on a block and, if it is the last, undoes the end of step t: the cell gets the
  // states as it computed them, and its part of their gradient.
  __attribute__((noinline)) void run(BackwardBlock<T> b, Index t) const {
    const bool splits = zones_ && b.stage == l_.last;
    if (splits) {
      if (b.product) add_products(b);
      split_gradients(b, t);
      b.product = nullptr, b.dy = nullptr;
    }
    if (zones_) {
      b.h = args_.made + rows_.offset[t] * H_, b.h_stride = H_;
      b.states += rows_.total() * l_.units;
    }
    cell_.backward[b.stage](b);
    if (splits) join_gradients(b);
    if (drops_) drop_operands(b);
  }

 private:
  // Calls f(sequence, vector, unit, lanes) for the vectors of a block.
  template <class Function>
  RNNFAST_INLINE void for_vectors(const BackwardBlock<T>& b, Function&& f) const {
    for (Index r = b.row; r < b.row + b.rows; ++r)
      for (Index v = b.vector; v < b.vector + b.vectors; ++v) f(r, v, v * W, l_.lanes(H_, v));
  }
  Index carry_place(const BackwardBlock<T>& b, int s, Index r, Index v) const {
    return s * b.carry_state + l_.tile_of(v) * b.carry_tile + r * l_.units + l_.place_of(v) * W;
  }

  // Adds the gradient that came through the next step's products to that of the states after this
  // one.
  void add_products(const BackwardBlock<T>& b) const {
    BackwardBlock<T> after = b;
    after.h0 = b.h, after.h0_stride = b.h_stride;
    after.states0 = b.states;
    cell_.leave(after);
  }

  // Splits the gradient of the states after step t, dy included, into that of the cell's new
  // states, for its function, and that of the states held.
  void split_gradients(const BackwardBlock<T>& b, Index t) const {
    T held[NoiseMasks<T>::kMost];
    const V zero(0);
    for (int s = 0; s < l_.info.states; ++s)
      for_vectors(b, [&](Index r, Index v, Index unit, int lanes) {
        if (v == b.vector) masks_.held(s, t, r, unit, b.vectors * W, held);
        const V part = V::load(held + (v - b.vector) * W);
        const Index at = carry_place(b, s, r, v);
        V d = V::load(b.carry + at);
        if (s == 0 && b.dy) d = d + V::load(b.dy + r * b.y_stride + unit, lanes);
        blend(part, d, zero).store(work_.dheld + at);
        blend(part, zero, d).store(b.carry + at);
      });
  }
  void join_gradients(const BackwardBlock<T>& b) const {
    for (int s = 0; s < l_.info.states; ++s)
      for_vectors(b, [&](Index r, Index v, Index, int) {
        const Index at = carry_place(b, s, r, v);
        (V::load(b.carry + at) + V::load(work_.dheld + at)).store(b.carry + at);
      });
  }

  // Drops the operands of the weights' gradients: the stage's values or, in the last stage, an
  // opening stage's values and h.
  void drop_operands(const BackwardBlock<T>& b) const {
    const bool is_last = b.stage == l_.last;
    const int first = is_last ? 0 : l_.info.first_value(b.stage);
    const int end = is_last ? l_.opening_values : l_.info.first_value(b.stage + 1);
    for_vectors(b, [&](Index r, Index, Index unit, int lanes) {
      const V mask = V::load(work_.mask + r * H_ + unit, lanes);
      const auto drop_row = [&](const T* from, T* to) {
        (V::load(from + unit, lanes) * mask).store(to + r * H_ + unit, lanes);
      };
      for (int i = first; i < end; ++i) drop_row(b.values[i] + r * H_, b.values[i]);
      if (!is_last) return;
      drop_row(r < b.continued ? b.h_before + r * b.y_stride : b.h0 + r * b.h0_stride, b.h_operand);
    });
  }

  const CellCode<T>& cell_;
  const Layout<T>& l_;
  const BackwardArgs<T>& args_;
  const PackedRows& rows_;
  const Index H_;
  const bool zones_, drops_;
  const BackwardWorkspace<P>& work_;
  const NoiseMasks<T> masks_;
};

}  // namespace RNNFAST_ISA_NAMESPACE
