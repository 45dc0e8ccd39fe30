#pragma once
// The forward pass of one layer in one direction; every thread of the team runs it.
//
// It takes the steps in chunks. The input product of a chunk fills the gates; then come, step by
// step and stage by stage, the recurrent products of a block of rows and the pointwise function.

#include "cpu/cell_code.h"
#include "cpu/context.h"
#include "cpu/input_product.h"
#include "cpu/noise.h"
#include "cpu/norms.h"
#include "cpu/recurrent_product.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class Forward {
  using T = RealOf<P>;
  using F = Format<P>;
  static constexpr int W = kLanes<T>;

 public:
  Forward(const CellCode<T>& cell, const ForwardArgs<T>& args, const Team& team, int thread)
      : cell_(cell),
        l_(cell.layout),
        args_(args),
        team_(team),
        thread_(thread),
        rows_(args.size.rows),
        flow_{args.flow, rows_.first_step},
        H_(args.size.hidden_size),
        R_(args.size.h_size()),
        h_row_(F::operand_lanes(R_)),
        tiles_(l_.tiles(H_)),
        work_(cell, args.workspace, args.size, team.size, args.packed),
        share_(share(tiles_, thread, team.size)),
        h_share_(share(l_.tiles(R_), thread, team.size)),
        projection_(args.size, work_.weights.w_hr),
        input_(l_, args, work_, team, thread),
        product_(l_, args, work_),
        noise_(cell, args, work_),
        sums_(work_.sums + thread * work_.thread_sums),
        moments_(work_.moments + thread * work_.thread_moments),
        keeps_gates_(args.size.training && l_.keeps_gates),
        gates_(keeps_gates_ ? args.gates : work_.gates),
        gates_tile_(
            (keeps_gates_ ? rows_.total() : chunk_capacity(rows_, blocking().forward_rows)) *
            l_.slot_row),
        states_(args.size.training ? args.states : work_.states),
        states_tile_((args.size.training ? args.size.state_rows() : work_.state_rows(args.size)) *
                     l_.units) {}

  void run() {
    prepare();
    team_.barrier();
    const Index step = args_.size.reverse ? -1 : 1;
    Index t = args_.size.reverse ? rows_.steps - 1 : 0;
    while (t >= 0 && t < rows_.steps) {
      const Chunk chunk = chunk_from(rows_, t, step, flow_.rows(blocking().forward_rows));
      flow_.take(chunk);
      chunk_row_ = keeps_gates_ ? 0 : chunk.row;
      own_ = partition(l_, args_.size, active_rows(chunk), thread_, team_.size);
      own_.batch =
          own_.by_tiles ? Range{0, rows_.batch} : share_rows(rows_, chunk, thread_, team_.size);
      input_.convert(chunk);
      input_.multiply(chunk, own_, chunk_row_, gates_tile_, gates_);
      if (args_.context.rows) add_context(l_, args_, chunk, own_, chunk_row_, gates_tile_, gates_);
      noise_.mask_candidates(chunk, own_, chunk_row_, gates_tile_, gates_);
      while (t != chunk.last + step) {
        const Index steps = steps_at_once(t, chunk.last);
        if (steps > 1)
          known_steps(min_index(t, t + step * (steps - 1)), steps);
        else
          time_step(t);
        t += step * steps;
      }
      // If lengths differ, sequences or tiles may move to other threads. The converted input is
      // shared by all threads.
      if (!rows_.dense() || (work_.kConvertsInput && !own_.by_tiles)) team_.barrier();
      flow_.give(chunk);
    }
    team_.barrier();
    if (!args_.recomputing) store_final();
  }

 private:
  // Packs the weights, unless they are packed already, and lays out the initial states.
  void prepare() {
    if (args_.part.first && !args_.size.packed)
      work_.weights.pack(args_.weights, args_.size, needs_weight_hh(), team_, thread_);
    load_h0(l_, args_.initial[0], rows_, R_, h_share_, work_.h0);
    for (int s = 1; s < l_.info.states; ++s)
      load_state(l_, args_.initial[s], rows_, H_, share_, state(s, 0, 0), states_tile_);
    noise_.prepare(share_);
    if (!stores_operands()) return;
    if (projection_) return round_h0();
    ForwardBlock<T> block{};
    block.code = &cell_;
    block.hidden = H_;
    block.tile = share_.begin, block.tiles = share_.end - share_.begin;
    block.rows = rows_.batch;
    block.h = work_.h0, block.h_stride = H_;
    block.states = states_, block.state = tiles_ * states_tile_, block.states_tile = states_tile_;
    block.operand_row = h_row_;
    block.h_operand = work_.h;
    for (int i = 0; i < l_.opening_values; ++i) block.values[i] = work_.values[i];
    block.mask = noise_.mask();
    cell_.open(block);
    noise_.drop_h(block, block.h, H_);
  }

  // False if the only step starts from zeros, so that the products of h are left out.
  bool needs_weight_hh() const {
    if (rows_.steps > 1 || !args_.part.last || args_.initial[0]) return true;
    for (int p = 0; p < l_.products.size; ++p)
      if (l_.products.item[p].operand.from != Operand::kState) return true;
    return false;
  }

  void round_h0() const {
    team_.barrier();  // other threads have loaded the other columns
    projection_.round(work_.h0, R_, rows_.batch, projection_.shared(team_, thread_), work_.h);
  }

  // Whether the next step's products multiply anything other than h as it lies in y.
  bool stores_operands() const { return copies_h_ || l_.opening_values > 0; }
  // Offset of the operand rows that step t passes to the next step, or of those from the initial
  // states.
  Index operand_offset(Index t, bool initial) const {
    return (initial ? 0 : 1 + (t & 1)) * rows_.batch * h_row_;
  }

  // Rows [first, end) of step t. They continue from step `previous`, or from the initial states if
  // `initial`: in the first step, or if the sequences were not active in `previous`.
  struct RowRange {
    Index t, previous, first, end;
    bool initial;
  };

  void time_step(Index t) {
    const StepOrder order{rows_, args_.size.reverse};
    const Index previous = order.previous(t), continuing = order.continued(t);
    const RowRange ranges[2] = {clip({t, previous, 0, continuing, false}),
                                clip({t, previous, continuing, rows_.count(t), true})};
    for (int stage = l_.first; stage <= l_.last; ++stage) {
      run_stage(stage, t, ranges);
      if (own_.by_tiles && meets_) team_.barrier();
    }
    if (projection_) project(t);
  }

  // Projects the last stage's output to h of step t, for this thread's sequences or columns.
  void project(Index t) {
    const Range panels = own_.by_tiles ? projection_.shared(team_, thread_) : projection_.all();
    const Index first = own_.batch.begin, rows = min_index(own_.batch.end, rows_.count(t)) - first;
    T* h = args_.y + (rows_.offset[t] + first) * args_.y_stride;
    if (!args_.recomputing) {
      Index stride = F::operand_lanes(H_);
      const T* m = work_.m + first * stride;
      if constexpr (F::kQuantizes) {
        m = quantized(0, m, stride, H_, first, rows);
        stride = work_.row;
      }
      projection_.multiply(m, stride, rows, panels, h, args_.y_stride);
    }
    if (F::kRounds)
      projection_.round(h, args_.y_stride, rows, panels,
                        work_.h + operand_offset(t, false) + first * h_row_);
    if (own_.by_tiles) team_.barrier();
  }

  // When recomputing, y already holds every h. A cell whose only operand is h can then run many
  // steps as one product.
  bool reads_only_h() const { return l_.first == l_.last && !stores_operands(); }

  // Returns how many steps from t on can run as one: their rows are contiguous and each continues
  // from its row one step before. States beyond h need rows in time order, so they rule out the
  // reverse direction, and programs, which compute many rows at once.
  Index steps_at_once(Index t, Index last) const {
    if (!reads_only_h() || !args_.recomputing || !own_.by_tiles || noise_.any()) return 1;
    if (l_.info.states > 1 && (args_.size.reverse || cell_.traced)) return 1;
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

  // Runs steps [t, t + steps), found by `steps_at_once`, in blocks of rows that may span several of
  // them.
  void known_steps(Index t, Index steps) {
    const RowRange all{t, StepOrder{rows_, args_.size.reverse}.previous(t), 0,
                       rows_.count(t) * steps, false};
    StageRows rows = rows_of(l_.last, all);
    for_own_tiles(0, 1, [&](Range tiles, bool) { run_tiles(rows, tiles, false); });
  }

  RowRange clip(RowRange s) const {
    s.first = max_index(s.first, own_.batch.begin);
    s.end = min_index(s.end, own_.batch.end);
    return s;
  }

  // Calls f(tiles, backwards) for this thread's tiles, `together` at a time. Every other step walks
  // them backwards, as the weights used last are still in the cache.
  template <class Function>
  RNNFAST_INLINE void for_own_tiles(Index t, Index together, Function&& f) const {
    const bool backwards = t & 1;
    for (Index at = 0, left = own_.tiles.end - own_.tiles.begin; left > 0;) {
      const Index count = min_index(left, together);
      const Index first = backwards ? own_.tiles.end - at - count : own_.tiles.begin + at;
      f(Range{first, first + count}, backwards);
      at += count, left -= count;
    }
  }

  T* state(int s, Index tile, Index row) const {
    return states_ + ((s - 1) * tiles_ + tile) * states_tile_ + row * l_.units;
  }
  Index state_row(Index t, Index r, bool initial) const {
    if (!args_.size.training) return (initial ? 0 : 1 + (t & 1)) * rows_.batch + r;
    return initial ? r : rows_.batch + rows_.offset[t] + r;
  }

  // Row 0 of an operand in step `range.t`.
  const T* operand_rows(Operand operand, const RowRange& range, Index* stride) const {
    *stride = h_row_;
    if (operand.from == Operand::kValue && operand.index >= l_.opening_values)
      return work_.values[operand.index];
    if (operand.from == Operand::kValue)
      return work_.values[operand.index] + operand_offset(range.previous, range.initial);
    if (copies_h_) return work_.h + operand_offset(range.previous, range.initial);
    return h_rows(range, stride);
  }

  // Row 0 of h before step `range.t`.
  const T* h_rows(const RowRange& range, Index* stride) const {
    *stride = range.initial ? R_ : args_.y_stride;
    return range.initial ? work_.h0 : args_.y + rows_.offset[range.previous] * args_.y_stride;
  }

  // One stage of some rows of a step: the operands of its products, and its block.
  struct StageRows {
    int stage;
    Index first, rows;
    StageOperands<T> operands;
    ForwardBlock<T> block;
    Index t;  // the step, and where its states are stored
    T *h, *states;
  };

  StageRows rows_of(int stage, const RowRange& range) const {
    StageRows all;
    all.stage = stage, all.first = range.first, all.rows = range.end - range.first;
    if (all.rows <= 0) return all;
    for (int p = l_.products.first[stage], i = 0; p < l_.products.first[stage + 1]; ++p, ++i) {
      Index& stride = all.operands.strides[i];
      const T* rows = operand_rows(l_.products.item[p].operand, range, &stride);
      if (range.initial && are_zero(rows, stride, range)) {
        all.operands.rows[i] = nullptr;
        continue;
      }
      if constexpr (F::kQuantizes) {
        rows = quantized(i, rows + all.first * stride, stride, R_, all.first, all.rows);
        stride = work_.row, rows -= all.first * stride;
      }
      all.operands.rows[i] = rows;
    }
    ForwardBlock<T>& b = all.block;
    b.code = &cell_;
    b.stage = stage;
    b.hidden = H_;
    b.sums = sums_;
    b.gates = gates_ + (rows_.offset[range.t] - chunk_row_) * l_.slot_row;
    b.gates_tile = gates_tile_;
    b.keeps_gates = keeps_gates_;
    b.params = work_.weights.params;
    b.h = h_rows(range, &b.h_stride);
    b.states = states_ + state_row(range.previous, 0, range.initial) * l_.units;
    all.t = range.t;
    all.h = args_.y + rows_.offset[range.t] * args_.y_stride;
    all.states = states_ + state_row(range.t, 0, false) * l_.units;
    b.new_states = all.states;
    b.state = tiles_ * states_tile_;
    b.states_tile = states_tile_;
    b.y = args_.recomputing ? nullptr : all.h;
    b.y_stride = args_.y_stride;
    noise_.redirect(b, range.t, states_);
    b.operand_row = h_row_;
    b.h_operand = work_.h + operand_offset(range.t, false);
    if (projection_) {  // the stage's output is then m, to be projected
      b.y = F::kRounds || args_.recomputing ? nullptr : work_.m;
      b.y_stride = b.operand_row = F::operand_lanes(H_);
      b.h_operand = work_.m;
    }
    for (int i = 0; i < l_.values; ++i)
      b.values[i] = work_.values[i] + (i < l_.opening_values ? operand_offset(range.t, false) : 0);
    b.mask = noise_.mask();
    b.moments = moments_;
    b.moments_norm = rows_.batch;
    for (int n = 0; n < cell_.norm_count(); ++n)
      if (cell_.traced->norms[n].used_by == stage) find_moments(n, all);
    return all;
  }

  // Quantises rows [first, first + count) of the operand of a stage's product i; `from` is the
  // first of them. Each thread does this for itself, which is cheaper than to meet the others
  // again.
  T* quantized(int i, const T* from, Index stride, Index columns, Index first, Index count) const {
    T* to = work_.rows + thread_ * work_.thread_rows + (i * rows_.batch + first) * work_.row;
    convert_rows<P>(from, stride, count, columns, to, work_.row);
    return to;
  }

  // Whether the operands of a range's rows are zeros, as they are for an initial state of zeros.
  bool are_zero(const T* rows, Index stride, const RowRange& range) const {
    for (Index r = range.first; r < range.end; ++r)
      if (!all_zero(rows + r * stride, h_row_)) return false;
    return true;
  }

  // Computes the moments of norm n for the rows of a stage.
  void find_moments(int n, const StageRows& all) const {
    const Norm& norm = cell_.traced->norms[n];
    const T* slots = all.block.gates + norm.slot * l_.units;
    for (Index r = all.first; r < all.first + all.rows; ++r)
      row_moments<T>(l_, H_, {slots + r * l_.slot_row, gates_tile_}, norm.eps,
                     moments_ + (n * rows_.batch + r) * 2);
  }

  // Runs a stage of step t for this thread's tiles and sequences.
  void run_stage(int stage, Index t, const RowRange (&ranges)[2]) {
    StageRows rows[2] = {rows_of(stage, ranges[0]), rows_of(stage, ranges[1])};
    const Index most = max_index(1, max_index(rows[0].rows, rows[1].rows));
    const Index together = most <= l_.block_rows ? work_.kSumRows / most : 1;
    for_own_tiles(t, together, [&](Range tiles, bool backwards) {
      for (StageRows& some : rows)
        if (some.rows > 0) run_tiles(some, tiles, backwards);
    });
  }

  // Runs a stage's products and pointwise part, a block of rows of one tile at a time. If all rows
  // fit one block, several tiles share a call of the pointwise part to give it enough to do.
  void run_tiles(StageRows& all, Range tiles, bool backwards) const {
    const Index count = tiles.end - tiles.begin, fetch = l_.stage_fetch[all.stage];
    ForwardBlock<T>& block = all.block;
    block.tile = tiles.begin, block.tiles = count;
    if (all.rows <= l_.block_rows) {
      for (Index i = 0; i < count; ++i) {
        const Index tile = backwards ? tiles.end - 1 - i : tiles.begin + i;
        AheadShares<T> ahead{next_weights(all.stage, tile, backwards), fetch};
        multiply(all, tile, all.first, all.rows, ahead,
                 sums_ + (tile - tiles.begin) * all.rows * l_.gate_row);
      }
      return run_block(all, all.first, all.rows);
    }
    // Several blocks of rows share a call of the pointwise part, as a call costs some units' work.
    const Index together = work_.kSumRows / l_.block_rows * l_.block_rows;
    AheadShares<T> ahead{next_weights(all.stage, tiles.begin, backwards), fetch,
                         all.rows / together * (together / l_.block_rows) +
                             blocks_of(all.rows % together, l_.block_rows)};
    for (Index i = 0; i < all.rows; i += together) {
      const Index first = all.first + i, rows = min_index(together, all.rows - i);
      for_blocks(rows, l_.block_rows, [&](Index at, Index some) {
        multiply(all, tiles.begin, first + at, some, ahead, sums_ + at * l_.gate_row);
      });
      run_block(all, first, rows);
    }
  }

  RNNFAST_INLINE void run_block(StageRows& all, Index row, Index rows) const {
    all.block.row = row, all.block.rows = rows;
    cell_.forward[all.stage](all.block);
    if (noise_.any() && all.stage == l_.last) noise_.finish(all.block, all.t, all.h, all.states);
  }

  // The next tile's weights for this stage, to prefetch meanwhile; null for the last tile.
  const T* next_weights(int stage, Index tile, bool backwards) const {
    const Index next = backwards ? tile - 1 : tile + 1;
    if (next < own_.tiles.begin || next >= own_.tiles.end) return nullptr;
    return product_.weights(stage, next);
  }

  // Runs a stage's products for some rows of a tile.
  RNNFAST_INLINE void multiply(const StageRows& all, Index tile, Index row, Index count,
                               AheadShares<T>& ahead, T* sums) const {
    const T* gates = all.block.gates + tile * gates_tile_;
    for (Index i = row * l_.slot_row; i < (row + count) * l_.slot_row; i += kLine<T>)
      __builtin_prefetch(gates + i, 1, 3);  // arrives while the product runs
    product_.multiply(all.stage, all.operands, tile, row, count, ahead, sums);
  }

  // Stores each sequence's final state: that of its last processed step, or the initial one.
  void store_final() {
    Index length = 0;  // sequences are sorted by decreasing length
    for (Index r = rows_.batch - 1; r >= 0; --r) {
      while (length < rows_.steps && rows_.count(length) > r) ++length;
      const Index last = args_.size.reverse ? 0 : length - 1;
      const T* h = length ? args_.y + (rows_.offset[last] + r) * args_.y_stride : work_.h0 + r * R_;
      const Index from = h_share_.begin * l_.units;
      const Index count = min_index(R_, h_share_.end * l_.units) - from;
      if (count > 0)
        __builtin_memcpy(args_.final[0] + rows_.order[r] * R_ + from, h + from, count * sizeof(T));
      const Index row = state_row(last, r, length == 0);
      for (int s = 1; s < l_.info.states; ++s)
        for (Index tile = share_.begin; tile < share_.end; ++tile)
          store_state(l_, state(s, tile, row), tile, r, rows_, H_, args_.final[s]);
    }
  }

  const CellCode<T>& cell_;
  const Layout<T>& l_;
  const ForwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const PackedRows& rows_;
  const ChunkFlow flow_;
  const Index H_, R_;  // units, and columns of h
  const Index h_row_;  // lanes of a row in copies of h
  const Index tiles_;
  const ForwardWorkspace<P> work_;
  Partition own_;        // in the time loop
  const Range share_;    // tiles outside the time loop
  const Range h_share_;  // likewise, tiles of h
  const Projection<P> projection_;
  InputProduct<P> input_;
  const RecurrentProduct<P> product_;
  const ForwardNoise<P> noise_;
  // Whether products multiply copies of h rather than h as it lies in y.
  const bool copies_h_ = F::kRounds || args_.size.noise.drops();
  T* const sums_;
  T* const moments_;
  // Whether a stage reads results of other tiles, so that threads must meet after each stage.
  const bool meets_ = l_.products.size > 0 || cell_.norm_count() > 0;
  const bool keeps_gates_;
  T* const gates_;
  const Index gates_tile_;
  T* const states_;
  const Index states_tile_;
  Index chunk_row_ = 0;  // packed row of the first row in gates_
};

}  // namespace RNNFAST_ISA_NAMESPACE
