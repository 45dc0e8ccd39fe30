#pragma once
// The backward pass of one layer in one direction; every thread of the team runs it.
//
// Chunks of steps from the last processed one to the first. Step by step: the gradient of h through
// the recurrent product of the step processed after this one, then the cell, whose gate gradients
// go to a buffer of the chunk. At the end of a chunk that buffer is the right-hand side of the
// weight gradients (weight_gradient.h) and the left-hand side of dx.

#include "cpu/direct_backward.h"
#include "cpu/input_gradient.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class Cell, class P>
class Backward {
  using T = RealOf<P>;
  using F = Format<P>;
  using L = Layout<Cell, T>;
  using V = Vec<T>;
  static constexpr int W = L::W;
  static constexpr CellInfo info = L::info;

 public:
  Backward(const BackwardArgs<T>& args, const Team& team, int thread)
      : args_(args),
        team_(team),
        thread_(thread),
        rows_(args.size.rows),
        order_{rows_, args.size.reverse},
        H_(args.size.hidden_size),
        tiles_(L::tiles(H_)),
        work_(args.workspace, args.size, team.size),
        direct_(args.size.direct),
        own_(partition<L>(H_, rows_.batch, thread, team.size)),
        own_vectors_{own_.tiles.begin * L::kTileVectors,
                     min_index(L::vectors(H_), own_.tiles.end * L::kTileVectors)},
        share_(share(tiles_, thread, team.size)),
        input_(args, work_, team, thread),
        product_(work_.products + thread * work_.kProducts),
        gates_tile_(rows_.total() * L::kSlotRow),
        states_tile_((rows_.batch + rows_.total()) * L::kUnits),
        chunk_tile_(work_.chunk_rows * kGateRow) {}

  void run() {
    prepare();
    team_.barrier();
    WeightGradient<L, P> weights(args_, team_, thread_, work_);
    const Index step = args_.size.reverse ? 1 : -1;
    Index t = args_.size.reverse ? 0 : rows_.steps - 1;
    for (int parity = 0; t >= 0 && t < rows_.steps; parity ^= 1) {
      const Chunk chunk = chunk_from(rows_, t, step, kBackwardChunkRows);
      current_ = {work_.dh[parity], chunk.row};
      if (!own_.by_tiles) own_.batch = share_rows(rows_, chunk, thread_, team_.size);
      for (; t != chunk.last + step; t += step) {
        time_step(t);
        later_ = current_;
      }
      team_.barrier();
      if (args_.dx) input_.write(chunk, dx_gates(), product_);
      if (!direct_) weights.accumulate(chunk, current_.gates, dx_gates());
    }
    if (rows_.steps) leave(t - step, 0);
    if (direct_) DirectGradient<L, P>(args_, work_, share_).write(current_.gates, dx_gates());
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

  T* dx_gates() const { return info.additive ? current_.gates : work_.dx; }

  void prepare() {
    if (args_.part.first) pack_parameters();
    for (int s = 0; s < info.states; ++s)
      load_state<L>(args_.dfinal[s], rows_, H_, share_, carry(s, 0, 0), carry_tile());
    load_h0<L>(args_.initial[0], rows_, H_, share_, work_.h0);
    clear_padding(work_.dh[0]);
    clear_padding(work_.dh[1]);
    if constexpr (!info.additive) clear_padding(work_.dx);
  }

  void pack_parameters() {
    const CellWeights<const T>& w = args_.weights;
    if constexpr (info.params)
      pack_units<L>(w.weight_channel, H_, info.params, share_, work_.params);
    if (direct_) return;
    for_groups([&](const Group& group) {
      for (int p = 0; p < L::products.size; ++p) {
        // Threads that share the tiles share the packing of each panel as well.
        const Product product = L::products.item[p];
        pack_transposed<L, P>(w.weight_hh, H_, H_, product.first_gate, product.gates, group.v0,
                              group.vectors, own_.by_tiles ? Range{0, tiles_} : share_,
                              recurrent_panel(p, group.v0));
      }
    });
    if (args_.dx) input_.pack(share_);
  }

  // Vectors of the last tile that hold no units meet zero weights, and so must be numbers.
  void clear_padding(T* gates) const {
    const int used = L::tile_vectors(H_, tiles_ - 1);
    if (used == L::kTileVectors) return;
    const Range mine = share(work_.chunk_rows * info.gates, thread_, team_.size);
    for (Index i = mine.begin; i < mine.end; ++i)
      for (int v = used; v < L::kTileVectors; ++v)
        F::store(V(0), gates + (tiles_ - 1) * chunk_tile_ + F::operand(i * L::kUnits + v * W));
  }

  // Columns of h's gradient: up to four vectors, evenly over this thread's tiles.
  struct Group {
    Index v0;
    int vectors;
    Index next;  // first vector of the group after it, or -1
  };
  // As in the forward pass, every other step goes backwards.
  template <class F>
  RNNFAST_INLINE void for_groups(F&& f, bool backwards = false) const {
    constexpr int most = L::kTileVectors > 1 ? L::kTileVectors : kMaxVectors;
    const Index count = own_vectors_.end - own_vectors_.begin, groups = blocks_of(count, most);
    const auto begin = [&](Index i) {
      return L::kTileVectors > 1 ? min_index(count, i * most) : count * i / groups;
    };
    for (Index n = 0; n < groups; ++n) {
      const Index i = backwards ? groups - 1 - n : n, next = backwards ? i - 1 : i + 1;
      f(Group{own_vectors_.begin + begin(i), int(begin(i + 1) - begin(i)),
              n + 1 < groups ? own_vectors_.begin + begin(next) : -1});
    }
  }
  // This thread's sequences among [first, end), a strip at a time.
  template <class F>
  RNNFAST_INLINE void for_strips(Index first, Index end, F&& f) const {
    first = max_index(first, own_.batch.begin);
    end = min_index(end, own_.batch.end);
    for_blocks(end - first, kStripRows, [&](Index at, Index rows) { f(first + at, rows); });
  }

  T* recurrent_panel(int product, Index v0) const {
    const Product p = L::products.item[product];
    return work_.w_hh +
           W * tiles_ * F::steps(L::kUnits) * (L::vectors(H_) * p.first_gate + v0 * p.gates);
  }

  Index carry_tile() const { return rows_.batch * L::kUnits; }
  RNNFAST_INLINE T* carry(int s, Index tile, Index row) const {
    return work_.carry + (s * tiles_ + tile) * carry_tile() + row * L::kUnits;
  }

  // Calls f(place, sequence, its product's place in scratch) for a group's vectors and some rows.
  template <class F>
  RNNFAST_INLINE void for_rows(Index t, const Group& group, Index first, Index rows, F&& f) {
    for (int v = 0; v < group.vectors; ++v) {
      const Place at = place(t, group.v0 + v);
      for (Index r = 0; r < rows; ++r) f(at, first + r, product_ + (r * group.vectors + v) * W);
    }
  }

  void time_step(Index t) {
    const Index later = args_.size.reverse ? t - 1 : t + 1;
    const bool has = later >= 0 && later < rows_.steps;
    const Index count = rows_.count(t), going = has ? order_.continued(later) : 0;
    if (has) leave(later, going);
    const auto step = [&](const Group& group) {
      for_strips(0, going, [&](Index first, Index rows) {
        first_products(later, group, first, rows);
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T* product) {
          cell_pointwise<true>(at, r, product);
        });
      });
      for_strips(going, count, [&](Index first, Index rows) {
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T*) {
          cell_pointwise<false>(at, r, nullptr);
        });
      });
    };
    for_groups(step, t & 1);
    if constexpr (L::kTwoStages) {
      if (own_.by_tiles) team_.barrier();
      if (direct_) direct_products(kSecond, kSecond + 1, current_, t);
      for_groups([&](const Group& group) {
        for_strips(0, count, [&](Index first, Index rows) {
          recurrent_product(kSecond, current_, t, group, first, rows);
          for_rows(t, group, first, rows, [&](const Place& at, Index r, const T* product) {
            operand_pointwise(at, r, product + kSecond * kProduct);
          });
        });
      });
    }
    if (own_.by_tiles) team_.barrier();
  }

  // The sequences [going, ..) of step t started there: what comes through its recurrent products
  // belongs to their initial states.
  void leave(Index t, Index going) {
    if (direct_) direct_products(0, L::products.first_stage, later_, t);
    for_groups([&](const Group& group) {
      for_strips(going, rows_.count(t), [&](Index first, Index rows) {
        first_products(t, group, first, rows);
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T* product) {
          V s[info.states], ds[info.states];
          load_initial(at, r, s);
          for (int i = 0; i < info.states; ++i) ds[i] = V::load(at.carry[i] + r * L::kUnits);
          add_product(product, s, ds);
          for (int i = 0; i < info.states; ++i) ds[i].store(at.carry[i] + r * L::kUnits);
        });
      });
    });
  }

  // Gradients of the first products' operands for some rows of step t, the one processed last.
  void first_products(Index t, const Group& group, Index first, Index rows) {
    for (int p = 0; p < L::products.first_stage; ++p)
      recurrent_product(p, later_, t, group, first, rows);
  }

  // Gradients of the operands of products [begin, end) for all rows of step t, this thread's
  // columns, from weights as they are.
  void direct_products(int begin, int end, const GateBuffer& buffer, Index t) {
    for (int p = begin; p < end; ++p) {
      const Product product = L::products.item[p];
      direct_transposed<L, T>(buffer.gates + (rows_.offset[t] - buffer.row) * L::kGateRow +
                                  product.first_gate * L::kUnits,
                              chunk_tile_,
                              {args_.weights.weight_hh, info.gates, H_, H_, product.first_gate,
                               product.gates, own_vectors_},
                              tiles_, rows_.count(t), direct_row(p, 0),
                              direct_row(L::products.size, 0), direct_width());
    }
  }
  Index direct_width() const { return L::vectors(H_) * W; }
  T* direct_row(int p, Index row) const {
    return work_.direct + (p * work_.chunk_rows + row) * direct_width() + own_vectors_.begin * W;
  }

  // Gradient of product p's operand for some rows of step t, whose gates are in `buffer`.
  void recurrent_product(int p, const GateBuffer& buffer, Index t, const Group& group, Index first,
                         Index rows) {
    if (direct_) {
      for (Index r = 0; r < rows; ++r)
        __builtin_memcpy(product_ + p * kProduct + r * group.vectors * W,
                         direct_row(p, first + r) + (group.v0 - own_vectors_.begin) * W,
                         group.vectors * W * sizeof(T));
      return;
    }
    const Product product = L::products.item[p];
    transposed_product<L, P>(buffer.gates + (rows_.offset[t] + first - buffer.row) * kGateRow +
                                 F::operand(product.first_gate * L::kUnits),
                             chunk_tile_, product.gates, recurrent_panel(p, group.v0),
                             group.next < 0 ? nullptr : recurrent_panel(p, group.next),
                             group.vectors, tiles_, rows, product_ + p * kProduct);
  }

  // Where the rows of step t lie for one vector of units: of sequence 0.
  struct Place {
    int lanes;
    const T* saved;  // row stride kSlotRow
    const T* params;
    const T* h;                   // after the step; row stride y_stride
    const T* h_before;            // before it, of sequences that continue; the same stride
    const T* h0;                  // row stride H
    const T* state[info.states];  // row stride kUnits
    const T* state_before[info.states];
    const T* state0[info.states];
    T* carry[info.states];          // row stride kUnits
    const T* dy;                    // row stride y_stride; may be null
    T *dh, *dx;                     // operands, row stride kGateRow
    T* dparams;                     // row stride kParamRow
    T* operands[L::products.size];  // row stride H
    Index continued;
  };

  Place place(Index t, Index vector) const {
    const Index tile = vector / L::kTileVectors, unit = vector * W;
    const Index v = vector % L::kTileVectors * W, row = rows_.offset[t] - current_.row;
    const Index before = order_.previous(t);
    Place p;
    p.lanes = L::lanes(H_, vector);
    p.saved = args_.gates + tile * gates_tile_ + rows_.offset[t] * L::kSlotRow + v;
    p.params = work_.params + tile * L::kParamRow + v;
    p.continued = order_.continued(t);
    p.h = args_.y + rows_.offset[t] * args_.y_stride + unit;
    p.h_before = before < 0 ? nullptr : args_.y + rows_.offset[before] * args_.y_stride + unit;
    p.h0 = work_.h0 + unit;
    for (int i = 0; i < info.states; ++i) p.carry[i] = carry(i, tile, 0) + v;
    for (int i = 1; i < info.states; ++i) {
      p.state0[i] = args_.states + ((i - 1) * tiles_ + tile) * states_tile_ + v;
      const T* steps = p.state0[i] + rows_.batch * L::kUnits;
      p.state[i] = steps + rows_.offset[t] * L::kUnits;
      p.state_before[i] = before < 0 ? nullptr : steps + rows_.offset[before] * L::kUnits;
    }
    p.dy = args_.dy ? args_.dy + rows_.offset[t] * args_.y_stride + unit : nullptr;
    p.dh = current_.gates + tile * chunk_tile_ + row * kGateRow + F::operand(v);
    p.dx = info.additive ? p.dh : work_.dx + tile * chunk_tile_ + row * kGateRow + F::operand(v);
    p.dparams = work_.dparams + (tile * work_.chunk_rows + row) * L::kParamRow + v;
    for (int o = 1; o < L::products.size; ++o) p.operands[o] = work_.operands[o] + row * H_ + unit;
    return p;
  }

  RNNFAST_INLINE void load_initial(const Place& at, Index r, V* s) const {
    s[0] = V::load(at.h0 + r * H_, at.lanes);
    for (int i = 1; i < info.states; ++i) s[i] = V::load(at.state0[i] + r * L::kUnits);
  }
  RNNFAST_INLINE void load_before(const Place& at, Index r, V* s) const {
    if (r >= at.continued) return load_initial(at, r, s);
    s[0] = V::load(at.h_before + r * args_.y_stride, at.lanes);
    for (int i = 1; i < info.states; ++i) s[i] = V::load(at.state_before[i] + r * L::kUnits);
  }

  // Adds what came through the first products (one vector each) to the gradient of the states s.
  RNNFAST_INLINE void add_product(const T* product, const V* s, V* ds) const {
    ds[0] = ds[0] + V::load(product);
    if constexpr (info.operands > 1) {
      V published[info.operands];
      for (int o = 1; o < info.operands; ++o) published[o] = V::load(product + o * kProduct);
      Cell::publish_backward(s, published, ds);
    }
  }

  RNNFAST_INLINE void load_saved(const Place& at, Index r, V* save, V* p) const {
    for (int k = 0; k < info.saved; ++k)
      save[k] = V::load(at.saved + r * L::kSlotRow + k * L::kUnits);
    for (int i = 0; i < info.params; ++i) p[i] = V::load(at.params + i * L::kUnits);
  }
  RNNFAST_INLINE void store_gates(const Place& at, Index r, const V* dx, const V* dh,
                                  const V* dp) const {
    for (int g = 0; g < info.gates; ++g) {
      F::store(dh[g], at.dh + r * kGateRow + F::operand(g * L::kUnits));
      if constexpr (!info.additive)
        F::store(dx[g], at.dx + r * kGateRow + F::operand(g * L::kUnits));
    }
    for (int i = 0; i < info.params; ++i)
      dp[i].store(at.dparams + r * L::kParamRow + i * L::kUnits);
  }

  template <bool kHasProduct>
  RNNFAST_INLINE void cell_pointwise(const Place& at, Index r, const T* product) {
    V save[info.saved + 1], p[info.params + 1], s[info.states], s_new[info.states];
    V ds_new[info.states], ds[info.states], dx[info.gates], dh[info.gates], dp[info.params + 1];
    load_saved(at, r, save, p);
    load_before(at, r, s);
    s_new[0] = V::load(at.h + r * args_.y_stride, at.lanes);
    for (int i = 1; i < info.states; ++i) s_new[i] = V::load(at.state[i] + r * L::kUnits);
    for (int i = 0; i < info.states; ++i) ds_new[i] = V::load(at.carry[i] + r * L::kUnits);
    // dy comes last, so that a part of the steps can take up from another's dinitial.
    if constexpr (kHasProduct) add_product(product, s_new, ds_new);
    if (at.dy) ds_new[0] = ds_new[0] + V::load(at.dy + r * args_.y_stride, at.lanes);
    if constexpr (L::kTwoStages)  // gates of the first stage that have no gradient yet
      for (int g = 0; g < info.gates; ++g) dx[g] = dh[g] = V(0);
    Cell::backward(save, p, s, s_new, ds_new, dx, dh, dp, ds);
    store_gates(at, r, dx, dh, dp);
    for (int i = 0; i < info.states; ++i) ds[i].store(at.carry[i] + r * L::kUnits);
    if constexpr (info.operands > 1) {  // made again for the weight gradient
      V published[info.operands];
      Cell::publish(s, published);
      for (int o = 1; o < info.operands; ++o) published[o].store(at.operands[o] + r * H_, at.lanes);
    }
  }

  RNNFAST_INLINE void operand_pointwise(const Place& at, Index r, const T* dq_row) {
    V save[info.saved + 1], p[info.params + 1], s[info.states], ds[info.states];
    V dx[info.gates], dh[info.gates], dp[info.params + 1], q[1];
    load_saved(at, r, save, p);
    load_before(at, r, s);
    for (int g = 0; g < info.gates; ++g) {
      dh[g] = F::load(at.dh + r * kGateRow + F::operand(g * L::kUnits));
      dx[g] = F::load(at.dx + r * kGateRow + F::operand(g * L::kUnits));
    }
    for (int i = 0; i < info.params; ++i)
      dp[i] = V::load(at.dparams + r * L::kParamRow + i * L::kUnits);
    for (int i = 0; i < info.states; ++i) ds[i] = V::load(at.carry[i] + r * L::kUnits);
    const V dq[1] = {V::load(dq_row)};
    Cell::operand_backward(save, p, s, dq, q, dx, dh, dp, ds);
    store_gates(at, r, dx, dh, dp);
    for (int i = 0; i < info.states; ++i) ds[i].store(at.carry[i] + r * L::kUnits);
    q[0].store(at.operands[kSecond] + r * H_, at.lanes);
  }

  void store_initial() const {
    for (int s = 0; s < info.states; ++s)
      for (Index tile = share_.begin; tile < share_.end; ++tile)
        for (Index r = 0; r < rows_.batch; ++r)
          store_state<L>(carry(s, tile, r), tile, r, rows_, H_, args_.dinitial[s]);
  }

  static constexpr Index kGateRow = F::operand(L::kGateRow);       // lanes of a row's gradients
  static constexpr int kSecond = L::products.size - 1;             // of a cell with two stages
  static constexpr Index kProduct = kStripRows * kMaxVectors * W;  // values a product in scratch

  const BackwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const PackedRows& rows_;
  const StepOrder order_;
  const Index H_, tiles_;
  const BackwardWorkspace<L, P> work_;
  const bool direct_;  // weights are read as they lie
  Partition own_;      // of the time loop
  const Range own_vectors_;
  const Range share_;  // tiles of everything else
  const InputGradient<L, P> input_;
  T* const product_;  // this thread's recurrent products
  const Index gates_tile_, states_tile_, chunk_tile_;
  GateBuffer current_{}, later_{};  // of this chunk; of the step processed after this one
};

}  // namespace RNNFAST_ISA_NAMESPACE
