#pragma once
// The backward pass of one layer in one direction; every thread of the team runs it.
//
// It takes chunks of steps from the last processed one to the first. Step by step, and stage by
// stage from the last, transposed products turn the gate gradients of later stages into gradients
// of the stage's results; then the cell's pointwise function turns these into gate gradients, in a
// buffer of the chunk. At the end of a chunk that buffer is the right-hand side of the weight
// gradients (weight_gradient.h) and the left-hand side of dx.

#include "cpu/cell_code.h"
#include "cpu/direct_backward.h"
#include "cpu/input_gradient.h"
#include "cpu/noise.h"
#include "cpu/norms.h"
#include "cpu/recurrent_gradient.h"
#include "cpu/weight_gradient.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class Backward {
  using T = RealOf<P>;
  using F = Format<P>;
  static constexpr int W = kLanes<T>;

 public:
  Backward(const CellCode<T>& cell, const BackwardArgs<T>& args, const Team& team, int thread)
      : cell_(cell),
        l_(cell.layout),
        args_(args),
        team_(team),
        thread_(thread),
        rows_(args.size.rows),
        order_{rows_, args.size.reverse},
        flow_{args.flow, rows_.first_step},
        H_(args.size.hidden_size),
        R_(args.size.h_size()),
        tiles_(l_.tiles(H_)),
        work_(cell, args.workspace, args.size, team.size),
        direct_(args.size.direct),
        own_(partition(l_, args.size, rows_.batch, thread, team.size)),
        own_vectors_{own_.tiles.begin * l_.tile_vectors,
                     min_index(l_.vectors(H_), own_.tiles.end * l_.tile_vectors)},
        h_vectors_(!args.size.proj_size ? own_vectors_
                   : own_.by_tiles      ? share(l_.vectors(R_), thread, team.size)
                                        : Range{0, l_.vectors(R_)}),
        share_(share(tiles_, thread, team.size)),
        projection_(args, team, thread, work_.projection),
        recurrent_(l_, args, work_, own_vectors_),
        input_(l_, args, work_, team, thread),
        noise_(cell, args, work_),
        product_(work_.products + thread * work_.thread_products),
        moments_(work_.moments + thread * work_.thread_moments),
        gates_tile_(rows_.total() * l_.slot_row),
        states_tile_(args.size.state_rows() * l_.units),
        gate_row_(F::operand_lanes(l_.gate_row)),
        chunk_tile_(work_.chunk_rows * gate_row_) {}

  void run() {
    prepare();
    team_.barrier();
    WeightGradient<P> weights(l_, args_, team_, thread_, work_, projection_);
    const Index step = args_.size.reverse ? 1 : -1;
    Index t = args_.size.reverse ? 0 : rows_.steps - 1;
    for (int parity = 0; t >= 0 && t < rows_.steps; parity ^= 1) {
      const Chunk chunk = chunk_from(rows_, t, step, kBackwardChunkRows);
      current_ = {work_.dh[parity], chunk.row};
      if (!own_.by_tiles) own_.batch = share_rows(rows_, chunk, thread_, team_.size);
      for (Index left = chunk.rows; t != chunk.last + step;) {
        const Chunk some = chunk_from(rows_, t, step, flow_.rows(left));
        left -= some.rows;
        flow_.take(some);
        for (; t != some.last + step; t += step) {
          time_step(t);
          later_ = current_;
        }
        team_.barrier();
        if (args_.dx) input_.write(some, dx_gates() + (some.row - chunk.row) * gate_row_, product_);
        flow_.give(some);
      }
      if (args_.dcontext.rows)
        add_context_gradient<P>(l_, args_, chunk, share_, dx_gates(), chunk_tile_);
      if (!direct_) weights.accumulate(chunk, current_.gates, dx_gates());
    }
    if (rows_.steps) leave(t - step, 0);
    if (direct_) DirectGradient<P>(l_, args_, work_, share_).write(current_.gates, dx_gates());
    team_.barrier();
    if (!direct_ && args_.part.last) weights.finish();
    store_initial();
  }

 private:
  // Gate gradients of a chunk, whose first packed row is `row`.
  struct GateBuffer {
    T* gates;
    Index row;
  };

  // The gate gradients of step t in a buffer.
  const T* gates_of(const GateBuffer& buffer, Index t) const {
    return buffer.gates + (rows_.offset[t] - buffer.row) * gate_row_;
  }
  T* dx_gates() const { return l_.split ? work_.dx : current_.gates; }

  void prepare() {
    if (args_.part.first) pack_parameters();
    for (int s = 0; s < l_.info.states; ++s)
      load_state(l_, s == 0 && projection_ ? nullptr : args_.dfinal[s], rows_, H_, share_,
                 carry(s, 0, 0), carry_tile());
    const Range h_share = share(l_.tiles(R_), thread_, team_.size);
    if (projection_) projection_.load_final(h_share, l_);
    load_h0(l_, args_.initial[0], rows_, R_, h_share, work_.h0);
    noise_.prepare(share_);
    clear_padding(work_.dh[0]);
    clear_padding(work_.dh[1]);
    if (l_.split) clear_padding(work_.dx);
  }

  void pack_parameters() {
    const CellWeights<const T>& w = args_.weights;
    if (l_.info.params) pack_units(l_, w.weight_channel, H_, l_.info.params, share_, work_.params);
    if (direct_) return;
    // Threads that share sequences use every panel, so they share the packing of each one; threads
    // that share tiles pack their own panels.
    if (projection_)
      for_groups(own_vectors_, [&](const ColumnGroup& group) {
        projection_.pack(group.v0, group.vectors, !own_.by_tiles);
      });
    for_groups(h_vectors_, [&](const ColumnGroup& group) {
      recurrent_.pack(group, own_.by_tiles ? Range{0, tiles_} : share_);
    });
    if (args_.size.needs_dx) input_.pack(share_);
  }

  // The last tile may have unused vectors. They are multiplied by zero weights, so clear them:
  // 0 * NaN is NaN.
  void clear_padding(T* gates) const {
    const int used = l_.used_vectors(H_, tiles_ - 1);
    if (used == l_.tile_vectors) return;
    const Range mine = share(work_.chunk_rows * l_.info.gates, thread_, team_.size);
    for (Index i = mine.begin; i < mine.end; ++i)
      for (int v = used; v < l_.tile_vectors; ++v)
        F::store(Vec<T>(0),
                 gates + (tiles_ - 1) * chunk_tile_ + F::operand_lanes(i * l_.units + v * W));
  }

  // Calls f(group) for each group; as in the forward pass, every other step goes backwards.
  template <class F>
  RNNFAST_INLINE void for_groups(const Range& own, F&& f, bool backwards = false) const {
    const int most = l_.tile_vectors > 1 ? l_.tile_vectors : kMaxVectors;
    const Index count = own.end - own.begin, groups = blocks_of(count, most);
    const auto begin = [&](Index i) {
      return l_.tile_vectors > 1 ? min_index(count, i * most) : count * i / groups;
    };
    for (Index n = 0; n < groups; ++n) {
      const Index i = backwards ? groups - 1 - n : n, next = backwards ? i - 1 : i + 1;
      f(ColumnGroup{own.begin + begin(i), int(begin(i + 1) - begin(i)),
                    n + 1 < groups ? own.begin + begin(next) : -1});
    }
  }
  // Calls f(first, rows) for this thread's sequences among [first, end), a strip at a time.
  template <class F>
  RNNFAST_INLINE void for_strips(Index first, Index end, F&& f) const {
    first = max_index(first, own_.batch.begin);
    end = min_index(end, own_.batch.end);
    for_blocks(end - first, blocking().strip_rows,
               [&](Index at, Index rows) { f(first + at, rows); });
  }

  Index carry_tile() const { return rows_.batch * l_.units; }
  RNNFAST_INLINE T* carry(int s, Index tile, Index row) const {
    return work_.carry + (s * tiles_ + tile) * carry_tile() + row * l_.units;
  }

  void time_step(Index t) {
    const Index later = args_.size.reverse ? t - 1 : t + 1;
    const bool has_later = later >= 0 && later < rows_.steps;
    const Index count = rows_.count(t), continuing = has_later ? order_.continued(later) : 0;
    if (has_later) leave(later, continuing);
    BackwardBlock<T> block = block_of(t);
    const auto last_stage = [&](const ColumnGroup& group) {
      for_strips(0, continuing, [&](Index first, Index rows) {
        products(kBefore, later_, later, group, first, rows);
        run_stage(block, t, group, first, rows, product_);
      });
      for_strips(continuing, count, [&](Index first, Index rows) {
        run_stage(block, t, group, first, rows, nullptr);
      });
    };
    block.stage = l_.last;
    if (projection_)
      projected_stage(block, t, later, continuing);
    else
      for_groups(own_vectors_, last_stage, t & 1);
    for (int stage = l_.last - 1; stage >= l_.first; --stage) {
      if (own_.by_tiles) team_.barrier();
      block.stage = stage;
      for (int n = 0; n < cell_.norm_count(); ++n)
        if (cell_.traced->norms[n].made_by == stage) find_moments(n, block, count);
      if (direct_) recurrent_.multiply_direct(made_by(stage), gates_of(current_, t), count);
      for_groups(own_vectors_, [&](const ColumnGroup& group) {
        for_strips(0, count, [&](Index first, Index rows) {
          products(made_by(stage), current_, t, group, first, rows);
          run_stage(block, t, group, first, rows, product_);
        });
      });
    }
    if (own_.by_tiles) team_.barrier();
  }

  // Runs the last stage of a step whose h is projected: completes the gradient of h and multiplies
  // it by weight_hr. The stage takes the product, the gradient of m, as that of its h.
  void projected_stage(BackwardBlock<T>& block, Index t, Index later, Index continuing) {
    const Index count = rows_.count(t), row = rows_.offset[t] - current_.row;
    const T* dy = args_.dy ? args_.dy + rows_.offset[t] * args_.y_stride : nullptr;
    for_groups(h_vectors_, [&](const ColumnGroup& group) {
      for_strips(0, continuing, [&](Index first, Index rows) {
        products(kBefore, later_, later, group, first, rows);
        projection_.complete(group.v0, group.vectors, row, first, rows, product_, dy);
      });
      for_strips(continuing, count, [&](Index first, Index rows) {
        projection_.complete(group.v0, group.vectors, row, first, rows, nullptr, dy);
      });
    });
    if (own_.by_tiles) team_.barrier();
    block.dy = nullptr;
    block.made_h = projection_.m(row);
    for_groups(
        own_vectors_,
        [&](const ColumnGroup& group) {
          for_strips(0, count, [&](Index first, Index rows) {
            projection_.multiply(group.v0, group.vectors, group.next, row, first, rows, product_);
            cell_.backward[l_.last](of_rows(block, group, first, rows, product_));
          });
        },
        t & 1);
  }

  // Sequences [continuing, count) start at step t, so the gradient that comes back through its
  // products is that of their initial states.
  void leave(Index t, Index continuing) {
    if (direct_) recurrent_.multiply_direct(kBefore, gates_of(later_, t), rows_.count(t));
    if (continuing == rows_.count(t)) return;
    BackwardBlock<T> block = block_of(t);
    for_groups(h_vectors_, [&](const ColumnGroup& group) {
      for_strips(continuing, rows_.count(t), [&](Index first, Index rows) {
        products(kBefore, later_, t, group, first, rows);
        if (projection_) return projection_.keep(group.v0, group.vectors, first, rows, product_);
        cell_.leave(of_rows(block, group, first, rows, product_));
      });
    });
  }

  static const BackwardBlock<T>& of_rows(BackwardBlock<T>& block, const ColumnGroup& group,
                                         Index first, Index rows, const T* product) {
    block.vector = group.v0, block.vectors = group.vectors;
    block.row = first, block.rows = rows;
    block.product = product;
    return block;
  }
  // Runs the block's stage of step t.
  void run_stage(BackwardBlock<T>& block, Index t, const ColumnGroup& group, Index first,
                 Index rows, const T* product) const {
    of_rows(block, group, first, rows, product);
    if (noise_.any()) return noise_.run(block, t);
    cell_.backward[block.stage](block);
  }

  // Groups of products by the stage that computes their operand: see ProductList.
  static constexpr int kBefore = 0;
  static int made_by(int stage) { return stage + 1; }

  // Computes the gradients of a group's operands for some rows of step t, whose gate gradients are
  // in `buffer`.
  void products(int of, const GateBuffer& buffer, Index t, const ColumnGroup& group, Index first,
                Index rows) {
    for (int i = l_.products.group[of]; i < l_.products.group[of + 1]; ++i) {
      const int p = l_.products.made[i];
      recurrent_.multiply(p, gates_of(buffer, t), group, first, rows,
                          product_ + p * product_values_);
      if (noise_.any())
        noise_.drop_product(product_ + p * product_values_, group.v0, group.vectors, first, rows);
    }
  }

  // Computes the moments of norm n and of its gradient, for this thread's sequences of a step.
  void find_moments(int n, const BackwardBlock<T>& block, Index count) const {
    const Norm& norm = cell_.traced->norms[n];
    const T* slots = block.saved + norm.slot * l_.units;
    const T* gradients = block.dnorms + n * l_.units;
    const Index row = cell_.norm_count() * l_.units;
    for (Index r = own_.batch.begin; r < min_index(own_.batch.end, count); ++r)
      gradient_moments<T>(l_, H_, {slots + r * l_.slot_row, gates_tile_},
                          {gradients + r * row, block.dnorms_tile}, norm.eps,
                          moments_ + (n * rows_.batch + r) * 4);
  }

  // A block with the addresses of step t's rows.
  BackwardBlock<T> block_of(Index t) const {
    const Index row = rows_.offset[t], chunk_row = row - current_.row, before = order_.previous(t);
    BackwardBlock<T> b;  // every member is set: here, by of_rows or, the stage, by time_step
    b.code = &cell_;
    b.hidden = H_;
    b.product_size = product_values_;
    b.continued = order_.continued(t);
    b.saved = args_.gates + row * l_.slot_row;
    b.saved_tile = gates_tile_;
    b.params = work_.params;
    b.h = args_.y + row * args_.y_stride, b.h_stride = args_.y_stride;
    b.dy = args_.dy ? args_.dy + row * args_.y_stride : nullptr;
    b.y_stride = args_.y_stride;
    b.h0 = work_.h0, b.h0_stride = H_;
    b.states0 = args_.states;
    b.states = args_.states + (rows_.batch + row) * l_.units;
    const Index row_before = before < 0 ? 0 : rows_.offset[before];  // unread if before < 0
    b.h_before = args_.y + row_before * args_.y_stride;
    b.states_before = args_.states + (rows_.batch + row_before) * l_.units;
    b.state = tiles_ * states_tile_;
    b.states_tile = states_tile_;
    b.carry = work_.carry;
    b.carry_state = tiles_ * carry_tile();
    b.carry_tile = carry_tile();
    b.dh = current_.gates + chunk_row * gate_row_;
    b.dx = dx_gates() + chunk_row * gate_row_;
    b.gates_tile = chunk_tile_;
    b.dparams = work_.dparams + chunk_row * l_.param_row;
    b.dparams_tile = work_.chunk_rows * l_.param_row;
    b.dkept = work_.dkept;
    b.dkept_tile = rows_.batch * l_.seen_row;
    for (int i = 0; i < l_.values; ++i) b.values[i] = work_.values[i] + chunk_row * H_;
    b.made_h = nullptr;
    b.made_h_row = projection_.m_row();
    b.h_operand = work_.h + chunk_row * H_;
    b.dnorms = work_.dnorms;
    b.dnorms_tile = rows_.batch * cell_.norm_count() * l_.units;
    b.moments = moments_;
    b.moments_norm = rows_.batch;
    return b;
  }

  void store_initial() const {
    if (projection_) projection_.store_initial();
    for (int s = projection_ ? 1 : 0; s < l_.info.states; ++s)
      for (Index tile = share_.begin; tile < share_.end; ++tile)
        for (Index r = 0; r < rows_.batch; ++r)
          store_state(l_, carry(s, tile, r), tile, r, rows_, H_, args_.dinitial[s]);
  }

  const CellCode<T>& cell_;
  const Layout<T>& l_;
  const BackwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const PackedRows& rows_;
  const StepOrder order_;
  const ChunkFlow flow_;
  const Index H_, R_, tiles_;  // R_: columns of h
  const BackwardWorkspace<P> work_;
  const bool direct_;                    // weights are read in place
  Partition own_;                        // in the time loop
  const Range own_vectors_, h_vectors_;  // of units; of h, whose gradient this thread computes
  const Range share_;                    // tiles outside the time loop
  const ProjectionGradient<P> projection_;
  const RecurrentGradient<P> recurrent_;
  const InputGradient<P> input_;
  const BackwardNoise<P> noise_;
  T* const product_;  // scratch for this thread's recurrent products
  const Index product_values_ = blocking().strip_rows * kMaxVectors * W;  // of each
  T* const moments_;
  const Index gates_tile_, states_tile_;
  const Index gate_row_;  // lanes of a row's gate gradients
  const Index chunk_tile_;
  GateBuffer current_{}, later_{};  // of this chunk; of the next step in forward's order
};

}  // namespace RNNFAST_ISA_NAMESPACE
