#pragma once
// The forward pass of one layer in one direction; every thread of the team runs it.
//
// For chunks of steps: the input product of the chunk into the gates, then step by step the
// recurrent product of a block of rows and, as its epilogue, the cell.

#include "cpu/input_product.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class Cell, class P>
class Forward {
  using T = RealOf<P>;
  using F = Format<P>;
  using L = Layout<Cell, T>;
  using V = Vec<T>;
  static constexpr int W = L::W;
  static constexpr CellInfo info = L::info;
  static constexpr int kStages = info.size() - info.first();  // those that have products

 public:
  Forward(const ForwardArgs<T>& args, const Team& team, int thread)
      : args_(args),
        team_(team),
        thread_(thread),
        rows_(args.size.rows),
        H_(args.size.hidden_size),
        h_row_(F::operand(H_)),
        tiles_(L::tiles(H_)),
        work_(args.workspace, args.size, team.size, args.packed),
        share_(share(tiles_, thread, team.size)),
        input_(args, work_, team, thread),
        sums_(work_.sums + thread * work_.kSums),
        direct_(args.size.direct),
        keeps_gates_(args.size.training && L::kKeepsGates),
        gates_(keeps_gates_ ? args.gates : work_.gates),
        gates_tile_((keeps_gates_ ? rows_.total() : chunk_capacity(rows_, kForwardChunkRows)) *
                    L::kSlotRow),
        states_(args.size.training ? args.states : work_.states),
        states_tile_((rows_.batch + (args.size.training ? rows_.total() : 0)) * L::kUnits) {}

  void run() {
    prepare();
    team_.barrier();
    const Index step = args_.size.reverse ? -1 : 1;
    Index t = args_.size.reverse ? rows_.steps - 1 : 0;
    while (t >= 0 && t < rows_.steps) {
      const Chunk chunk = chunk_from(rows_, t, step, kForwardChunkRows);
      chunk_row_ = keeps_gates_ ? 0 : chunk.row;
      own_ = partition<L>(H_, active_rows(chunk), thread_, team_.size);
      own_.batch =
          own_.by_tiles ? Range{0, rows_.batch} : share_rows(rows_, chunk, thread_, team_.size);
      input_.round(chunk);
      input_product(chunk);
      while (t != chunk.last + step) {
        const Index steps = steps_at_once(t, chunk.last);
        if (steps > 1)
          known_steps(min_index(t, t + step * (steps - 1)), steps);
        else
          time_step(t);
        t += step * steps;
      }
      // Where lengths differ, sequences or tiles change their threads; the rounded input is
      // everybody's.
      if (!rows_.dense() || (F::kRounds && !own_.by_tiles)) team_.barrier();
    }
    team_.barrier();
    if (!args_.again) store_final();
  }

 private:
  // Packs the weights, unless they are, and spreads the initial states.
  void prepare() {
    if (args_.part.first && !args_.size.packed)
      work_.weights.pack(args_.weights, args_.size, share_);
    load_h0<L>(args_.initial[0], rows_, H_, share_, work_.h0);
    for (int s = 1; s < info.states; ++s)
      load_state<L>(args_.initial[s], rows_, H_, share_, state(s, 0, 0), states_tile_);
    if constexpr (kHandsOn)
      for (Index tile = share_.begin; tile < share_.end; ++tile)
        for (int v = 0; v < L::tile_vectors(H_, tile); ++v)
          for (Index r = 0; r < rows_.batch; ++r) hand_on_initial(tile, v, r);
  }

  void hand_on_initial(Index tile, int v, Index r) {
    const Index vector = tile * L::kTileVectors + v;
    const int lanes = L::lanes(H_, vector);
    V s[info.states];
    s[0] = V::load(work_.h0 + r * H_ + vector * W, lanes);
    for (int i = 1; i < info.states; ++i) s[i] = V::load(state(i, tile, r) + v * W);
    hand_on(s, r * h_row_ + F::operand(vector * W), lanes);
  }

  // Whether the products of the next step multiply anything but h as it lies in y.
  static constexpr bool kHandsOn = F::kRounds || info.first() > 0;

  // Stores what the next step's products multiply, made of the states s.
  RNNFAST_INLINE void hand_on(const V* s, Index at, int lanes) const {
    if constexpr (F::kRounds) F::store(s[0], work_.h + at, lanes);
    if constexpr (info.first() > 0) {
      V made[info.opening_values()];
      Cell::template forward<0>(Values<V>{.s = s, .made = made});
      for (int i = 0; i < info.opening_values(); ++i)
        F::store(made[i], work_.values[i] + at, lanes);
    }
  }
  // Where the rows are that step t hands on, or the initial states.
  Index handed(Index t, bool initial) const {
    return (initial ? 0 : 1 + (t & 1)) * rows_.batch * h_row_;
  }

  // gates = x W^T + bias for the rows of a chunk that this thread owns.
  void input_product(const Chunk& chunk) {
    for (Index tile = own_.tiles.begin; tile < own_.tiles.end; ++tile) {
      if (own_.by_tiles) {
        input_rows(tile, chunk.row, chunk.rows);
        continue;
      }
      const Index low = min_index(chunk.first, chunk.last);
      for (Index t = low; t <= max_index(chunk.first, chunk.last); ++t) {
        const Index end = min_index(own_.batch.end, rows_.count(t));
        if (own_.batch.begin < end)
          input_rows(tile, rows_.offset[t] + own_.batch.begin, end - own_.batch.begin);
      }
    }
  }

  void input_rows(Index tile, Index first, Index count) {
    input_.multiply(tile, first, count,
                    gates_ + tile * gates_tile_ + (first - chunk_row_) * L::kSlotRow);
  }

  // Rows [first, end) of step t, whose previous state is that of step `previous`, or the initial
  // one if there is no such step or the sequence was not active in it.
  struct Segment {
    Index t, previous, first, end;
    bool initial;
  };

  void time_step(Index t) {
    const StepOrder order{rows_, args_.size.reverse};
    const Index previous = order.previous(t), going = order.continued(t);
    const Segment segments[2] = {clip({t, previous, 0, going, false}),
                                 clip({t, previous, going, rows_.count(t), true})};
    for_each_index<kStages>([&]<int i>() {
      constexpr int stage = info.first() + i;
      for_own_tiles(t, [&](Index tile, Index next) {
        for (const Segment& s : segments) segment_tile<stage>(s, tile, next);
      });
      if (own_.by_tiles) team_.barrier();
    });
  }

  // When recomputing, y already holds every h. A cell whose only operand is h can then run many
  // steps as one product.
  static constexpr bool kReadsOnlyH = kStages == 1 && !kHandsOn;

  // How many steps from t on can run as one. Their rows follow each other and continue from the
  // rows one step before; states beyond h are made row by row, and so in order of time alone.
  Index steps_at_once(Index t, Index last) const {
    if (!kReadsOnlyH || !args_.again || !own_.by_tiles) return 1;
    if (args_.size.reverse && info.states > 1) return 1;
    const StepOrder order{rows_, args_.size.reverse};
    const Index step = args_.size.reverse ? -1 : 1, count = rows_.count(t);
    Index steps = 0;
    while (rows_.count(t) == count && order.previous(t) >= 0 &&
           rows_.count(order.previous(t)) == count) {
      ++steps;
      if (t == last) break;
      t += step;
    }
    return max_index(1, steps);
  }

  // Steps [t, t + steps), which `steps_at_once` found, as blocks of rows of all of them.
  void known_steps(Index t, Index steps) {
    const Segment all{t, StepOrder{rows_, args_.size.reverse}.previous(t), 0,
                      rows_.count(t) * steps, false};
    for_own_tiles(0, [&](Index tile, Index next) { segment_tile<info.last()>(all, tile, next); });
  }

  Segment clip(Segment s) const {
    s.first = max_index(s.first, own_.batch.begin);
    s.end = min_index(s.end, own_.batch.end);
    return s;
  }

  // Calls f(tile, the one after it or -1). Every other step walks the tiles backwards: the last
  // weights used are still in the cache.
  template <class F>
  RNNFAST_INLINE void for_own_tiles(Index t, F&& f) {
    const Index count = own_.tiles.end - own_.tiles.begin, step = t & 1 ? -1 : 1;
    Index tile = t & 1 ? own_.tiles.end - 1 : own_.tiles.begin;
    for (Index i = 1; i <= count; ++i, tile += step) f(tile, i < count ? tile + step : -1);
  }

  T* state(int s, Index tile, Index row) const {
    return states_ + ((s - 1) * tiles_ + tile) * states_tile_ + row * L::kUnits;
  }
  Index state_row(Index t, Index r, bool initial) const {
    if (!args_.size.training) return r;
    return initial ? r : rows_.batch + rows_.offset[t] + r;
  }

  // Row 0 of an operand in step `seg.t`.
  const T* operand_rows(Operand operand, const Segment& seg, Index* stride) const {
    *stride = h_row_;
    if (operand.from == Operand::kValue && operand.index >= info.opening_values())
      return work_.values[operand.index];
    if (operand.from == Operand::kValue)
      return work_.values[operand.index] + handed(seg.previous, seg.initial);
    if (F::kRounds) return work_.h + handed(seg.previous, seg.initial);
    return h_rows(seg, stride);
  }

  // Row 0 of h before step `seg.t`.
  const T* h_rows(const Segment& seg, Index* stride) const {
    *stride = seg.initial ? H_ : args_.y_stride;
    return seg.initial ? work_.h0 : args_.y + rows_.offset[seg.previous] * args_.y_stride;
  }

  // Where a segment's rows lie for one tile: of sequence 0, from the tile's first unit.
  struct Place {
    T* gates;  // row stride kSlotRow
    const T* h;
    Index h_stride;
    T* y;                              // row stride y_stride
    const T* old_states[info.states];  // row stride kUnits
    T* new_states[info.states];
    Index unit;
    Index handed;  // of what the step hands on to the next
    const T* params;
  };

  Place place(const Segment& seg, Index tile) const {
    const Index unit = tile * L::kUnits;
    Place p;
    p.gates = gates_ + tile * gates_tile_ + (rows_.offset[seg.t] - chunk_row_) * L::kSlotRow;
    p.h = h_rows(seg, &p.h_stride) + unit;
    p.y = args_.y + rows_.offset[seg.t] * args_.y_stride + unit;
    for (int i = 1; i < info.states; ++i) {
      p.old_states[i] = state(i, tile, state_row(seg.previous, 0, seg.initial));
      p.new_states[i] = state(i, tile, state_row(seg.t, 0, false));
    }
    p.unit = unit;
    p.handed = handed(seg.t, false);
    p.params = work_.weights.params + tile * L::kParamRow;
    return p;
  }

  // The products of one stage and its pointwise part, for one tile. The weights of tile `next` come
  // into the cache meanwhile.
  template <int kStage>
  void segment_tile(const Segment& seg, Index tile, Index next) {
    constexpr int begin = L::products.first[kStage], end = L::products.first[kStage + 1];
    constexpr Span gates = info.stages[kStage].gates;
    if (seg.first >= seg.end) return;
    const int vectors = L::tile_vectors(H_, tile);
    const T* bias = work_.weights.bias_hh + tile * L::kGateRow;
    const Place rows = place(seg, tile);
    const Index depth = F::steps(H_);
    constexpr int first_column = gates.first * L::kUnits;
    AheadShares<T> ahead(
        next < 0 ? nullptr : work_.weights.w_hh + (next * L::kGateRow + first_column) * depth,
        depth * gates.count * L::kUnits,
        depth * L::panels(begin, end) * blocks_of(seg.end - seg.first, L::kRows));
    for_blocks(seg.end - seg.first, L::kRows, [&](Index block, Index count) {
      const Index row = seg.first + block;
      for (Index i = row * L::kSlotRow; i < (row + count) * L::kSlotRow; i += 64 / sizeof(T))
        __builtin_prefetch(rows.gates + i, 1, 3);  // comes while the product runs
      for (int p = begin; p < end; ++p) {
        const Product product = L::products.item[p];
        Index stride;
        const T* a = operand_rows(product.operand, seg, &stride);
        if (direct_) {
          direct_gates<L, T>({.a = a + row * stride,
                              .lda = stride,
                              .w = args_.weights.weight_hh,
                              .ldw = H_,
                              .depth = H_,
                              .depth_block = H_,
                              .c = sums_,
                              .ldc = L::kGateRow,
                              .bias = bias},
                             H_, tile, product.gates, count);
          continue;
        }
        L::for_panels(product.gates, vectors, [&](int column, int width) {
          kBlocks<P, false>.fn[width - 1][count - 1](
              {.a = a + row * stride,
               .lda = stride,
               .b = work_.weights.w_hh + (tile * L::kGateRow + W * column) * depth,
               .ldb = width * W,
               .depth = depth,
               .c = sums_ + column * W,
               .ldc = L::kGateRow,
               .columns = width * W,
               .bias = bias + column * W,
               .ahead = ahead.take(depth)});
        });
      }
      for (int v = 0; v < vectors; ++v) {
        const int lanes = L::lanes(H_, tile * L::kTileVectors + v);
        for (Index r = 0; r < count; ++r)
          pointwise<kStage>(rows, row + r, v * W, lanes, sums_ + r * L::kGateRow);
      }
    });
  }

  // A stage on one vector of units, `at` units into the tile, of sequence r.
  template <int kStage>
  RNNFAST_INLINE void pointwise(const Place& rows, Index r, int at, int lanes, const T* sums) {
    constexpr Stage stage = info.stages[kStage];
    constexpr bool is_last = kStage == info.last();
    T* const slots = rows.gates + r * L::kSlotRow + at;
    T* const own = slots + info.first_slot(kStage) * L::kUnits;
    V x[stage.gates.count], h[stage.gates.count], a[stage.gates.count], p[info.params + 1];
    V s[info.states], kept[L::kSlots], save[stage.saved + 1], made[stage.values + 1];
    V s_new[info.states];
    for (int g = 0; g < stage.gates.count; ++g) {
      x[g] = V::load(slots + (stage.gates.first + g) * L::kUnits);
      h[g] = V::load(sums + (stage.gates.first + g) * L::kUnits + at);
      a[g] = x[g] + h[g];
    }
    for (int k = stage.sees.first; k < stage.sees.end(); ++k)
      kept[k] = V::load(slots + k * L::kUnits);
    for (int i = 0; i < info.params; ++i) p[i] = V::load(rows.params + i * L::kUnits + at);
    s[0] = V::load(rows.h + r * rows.h_stride + at, lanes);
    for (int i = 1; i < info.states; ++i) s[i] = V::load(rows.old_states[i] + r * L::kUnits + at);

    Cell::template forward<kStage>(Values<V>{a, x, h, p, s, kept, s_new, made, save});
    const Index operand = r * h_row_ + F::operand(rows.unit + at);
    if constexpr (is_last) {
      if (!args_.again) s_new[0].store(rows.y + r * args_.y_stride + at, lanes);
      for (int i = 1; i < info.states; ++i) s_new[i].store(rows.new_states[i] + r * L::kUnits + at);
      hand_on(s_new, rows.handed + operand, lanes);
    } else {
      for (int i = 0; i < stage.values; ++i)
        F::store(made[i], work_.values[info.first_value(kStage) + i] + operand, lanes);
    }
    if (keeps_gates_ || !is_last)  // later stages may see them
      for (int k = 0; k < stage.saved; ++k) save[k].store(own + k * L::kUnits);
  }

  // The state at each sequence's end: that of its last processed step, or the initial one.
  void store_final() {
    Index length = 0;  // sequences are sorted by falling length
    for (Index r = rows_.batch - 1; r >= 0; --r) {
      while (length < rows_.steps && rows_.count(length) > r) ++length;
      const Index last = args_.size.reverse ? 0 : length - 1;
      const T* h = length ? args_.y + (rows_.offset[last] + r) * args_.y_stride : work_.h0 + r * H_;
      const Index from = share_.begin * L::kUnits;
      const Index count = min_index(H_, share_.end * L::kUnits) - from;
      if (count > 0)
        __builtin_memcpy(args_.final[0] + rows_.order[r] * H_ + from, h + from, count * sizeof(T));
      const Index row = state_row(last, r, length == 0);
      for (int s = 1; s < info.states; ++s)
        for (Index tile = share_.begin; tile < share_.end; ++tile)
          store_state<L>(state(s, tile, row), tile, r, rows_, H_, args_.final[s]);
    }
  }

  const ForwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const PackedRows& rows_;
  const Index H_;
  const Index h_row_;  // lanes of an operand's row in copies of it
  const Index tiles_;
  const ForwardWorkspace<L, P> work_;
  Partition own_;      // of the time loop
  const Range share_;  // tiles of everything else
  InputProduct<L, P> input_;
  T* const sums_;
  const bool direct_;  // weights are read as they lie
  const bool keeps_gates_;
  T* const gates_;
  const Index gates_tile_;
  T* const states_;
  const Index states_tile_;
  Index chunk_row_ = 0;  // packed row of the first row in gates_
};

}  // namespace RNNFAST_ISA_NAMESPACE
