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

  T* dx_gates() const { return info.split() ? work_.dx : current_.gates; }

  void prepare() {
    if (args_.part.first) pack_parameters();
    for (int s = 0; s < info.states; ++s)
      load_state<L>(args_.dfinal[s], rows_, H_, share_, carry(s, 0, 0), carry_tile());
    load_h0<L>(args_.initial[0], rows_, H_, share_, work_.h0);
    clear_padding(work_.dh[0]);
    clear_padding(work_.dh[1]);
    if constexpr (info.split()) clear_padding(work_.dx);
  }

  void pack_parameters() {
    const CellWeights<const T>& w = args_.weights;
    if constexpr (info.params)
      pack_units<L>(w.weight_channel, H_, info.params, share_, work_.params);
    if (direct_) return;
    for_groups([&](const Group& group) {
      for (int p = 0; p < L::products.size; ++p) {
        // Threads that share the tiles share the packing of each panel as well.
        pack_transposed<L, P>(w.weight_hh, H_, H_, L::products.item[p].gates, group.v0,
                              group.vectors, own_.by_tiles ? Range{0, tiles_} : share_,
                              recurrent_panel(p, group.v0));
      }
    });
    if (args_.dx) input_.pack(share_);
  }

  // The last tile may have unused vectors. They are multiplied by zero weights, so clear them:
  // 0 * NaN is NaN.
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
    const Span gates = L::products.item[product].gates;
    return work_.w_hh +
           W * tiles_ * F::steps(L::kUnits) * (L::vectors(H_) * gates.first + v0 * gates.count);
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
    const auto last_stage = [&](const Group& group) {
      for_strips(0, going, [&](Index first, Index rows) {
        products(kFirst, later_, later, group, first, rows);
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T* product) {
          pointwise<info.last(), true>(at, r, product);
        });
      });
      for_strips(going, count, [&](Index first, Index rows) {
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T*) {
          pointwise<info.last(), false>(at, r, nullptr);
        });
      });
    };
    for_groups(last_stage, t & 1);
    for_each_index<info.last() - kFirst>([&]<int i>() {
      if (own_.by_tiles) team_.barrier();
      earlier_stage<info.last() - 1 - i>(t);
    });
    if (own_.by_tiles) team_.barrier();
  }

  // A stage whose values the stage after it has multiplied.
  template <int kStage>
  void earlier_stage(Index t) {
    if (direct_) direct_products(kStage + 1, current_, t);
    for_groups([&](const Group& group) {
      for_strips(0, rows_.count(t), [&](Index first, Index rows) {
        products(kStage + 1, current_, t, group, first, rows);
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T* product) {
          pointwise<kStage, true>(at, r, product);
        });
      });
    });
  }

  // Sequences [going, count) start at step t, so the gradient that comes back through its products
  // is that of their initial states.
  void leave(Index t, Index going) {
    if (direct_) direct_products(kFirst, later_, t);
    for_groups([&](const Group& group) {
      for_strips(going, rows_.count(t), [&](Index first, Index rows) {
        products(kFirst, later_, t, group, first, rows);
        for_rows(t, group, first, rows, [&](const Place& at, Index r, const T* product) {
          V s[info.states], ds[info.states];
          load_initial(at, r, s);
          load_carry(at, r, ds);
          add_products(product, s, ds);
          store_carry(at, r, ds);
        });
      });
    });
  }

  // Gradients of a stage's operands for all rows of step t, this thread's columns, from weights as
  // they are.
  void direct_products(int stage, const GateBuffer& buffer, Index t) {
    for (int p = L::products.first[stage]; p < L::products.first[stage + 1]; ++p) {
      const Span gates = L::products.item[p].gates;
      direct_transposed<L, T>(
          buffer.gates + (rows_.offset[t] - buffer.row) * L::kGateRow + gates.first * L::kUnits,
          chunk_tile_, {args_.weights.weight_hh, info.gates, H_, H_, gates, own_vectors_}, tiles_,
          rows_.count(t), direct_row(p, 0), direct_row(L::products.size, 0), direct_width());
    }
  }
  Index direct_width() const { return L::vectors(H_) * W; }
  T* direct_row(int p, Index row) const {
    return work_.direct + (p * work_.chunk_rows + row) * direct_width() + own_vectors_.begin * W;
  }

  // Gradients of a stage's operands for some rows of step t, whose gates are in `buffer`.
  void products(int stage, const GateBuffer& buffer, Index t, const Group& group, Index first,
                Index rows) {
    for (int p = L::products.first[stage]; p < L::products.first[stage + 1]; ++p)
      recurrent_product(p, buffer, t, group, first, rows);
  }

  void recurrent_product(int p, const GateBuffer& buffer, Index t, const Group& group, Index first,
                         Index rows) {
    if (direct_) {
      for (Index r = 0; r < rows; ++r)
        __builtin_memcpy(product_ + p * kProduct + r * group.vectors * W,
                         direct_row(p, first + r) + (group.v0 - own_vectors_.begin) * W,
                         group.vectors * W * sizeof(T));
      return;
    }
    const Span gates = L::products.item[p].gates;
    transposed_product<L, P>(buffer.gates + (rows_.offset[t] + first - buffer.row) * kGateRow +
                                 F::operand(gates.first * L::kUnits),
                             chunk_tile_, gates.count, recurrent_panel(p, group.v0),
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
    T* carry[info.states];  // row stride kUnits
    const T* dy;            // row stride y_stride; may be null
    T *dh, *dx;             // operands, row stride kGateRow
    T* dparams;             // row stride kParamRow
    T* dkept;               // row stride kSeenRow
    Index values;           // of a value's rows, row stride H
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
    p.dx = info.split() ? work_.dx + tile * chunk_tile_ + row * kGateRow + F::operand(v) : p.dh;
    p.dparams = work_.dparams + (tile * work_.chunk_rows + row) * L::kParamRow + v;
    p.dkept = work_.dkept + tile * rows_.batch * L::kSeenRow + v;
    p.values = row * H_ + unit;
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

  RNNFAST_INLINE void load_carry(const Place& at, Index r, V* ds) const {
    for (int i = 0; i < info.states; ++i) ds[i] = V::load(at.carry[i] + r * L::kUnits);
  }
  RNNFAST_INLINE void store_carry(const Place& at, Index r, const V* ds) const {
    for (int i = 0; i < info.states; ++i) ds[i].store(at.carry[i] + r * L::kUnits);
  }

  // The gradients of the values that stage kStage made, out of those of the products (one vector
  // each) that multiply them.
  template <int kStage>
  RNNFAST_INLINE void load_products(const T* product, V* dmade) const {
    for (int p = L::products.first[kStage + 1]; p < L::products.first[kStage + 2]; ++p) {
      const Operand operand = L::products.item[p].operand;
      if (operand.from == Operand::kValue)
        dmade[operand.index - info.first_value(kStage)] = V::load(product + p * kProduct);
    }
  }
  // Adds what came through the products of the step after the states s to their gradient.
  RNNFAST_INLINE void add_products(const T* product, const V* s, V* ds) const {
    ds[0] = ds[0] + V::load(product);
    if constexpr (kFirst > 0) {
      V dmade[info.opening_values()], made[info.opening_values()];
      load_products<0>(product, dmade);
      Cell::template backward<0>(Gradients<V>{.s = s, .dmade = dmade, .ds = ds, .made = made});
    }
  }

  // What the forward pass kept, for a stage.
  template <int kStage>
  RNNFAST_INLINE void load_kept(const Place& at, Index r, V* p, V* kept, V* save) const {
    constexpr Stage stage = info.stages[kStage];
    const T* slots = at.saved + r * L::kSlotRow;
    for (int k = 0; k < stage.saved; ++k)
      save[k] = V::load(slots + (info.first_slot(kStage) + k) * L::kUnits);
    for (int k = stage.sees.first; k < stage.sees.end(); ++k)
      kept[k] = V::load(slots + k * L::kUnits);
    for (int i = 0; i < info.params; ++i) p[i] = V::load(at.params + i * L::kUnits);
  }
  template <int kStage>
  RNNFAST_INLINE void store_gates(const Place& at, Index r, const V* dx, const V* dh) const {
    constexpr Span gates = info.stages[kStage].gates;
    for (int g = 0; g < gates.count; ++g) {
      const Index to = r * kGateRow + F::operand((gates.first + g) * L::kUnits);
      F::store(dh[g], at.dh + to);
      if constexpr (info.split()) F::store(dx[g], at.dx + to);
    }
  }
  // Gradients of slots that a later stage sees, on their way from that stage to the one that saved.
  RNNFAST_INLINE T* dkept(const Place& at, Index r, int slot) const {
    return at.dkept + r * L::kSeenRow + info.seen_place(slot) * L::kUnits;
  }

  // The gradient of a stage on one vector of units of sequence r. kContinues: the last stage's
  // states are what a later step has multiplied.
  template <int kStage, bool kContinues>
  RNNFAST_INLINE void pointwise(const Place& at, Index r, const T* product) {
    constexpr Stage stage = info.stages[kStage];
    constexpr bool is_last = kStage == info.last();
    constexpr int kOwn = info.first_slot(kStage);
    V p[info.params + 1], s[info.states], s_new[info.states], kept[L::kSlots], save[L::kSlots];
    V dnext[info.states], dmade[stage.values + 1], dsave[stage.saved + 1];
    V da[stage.gates.count], dx[stage.gates.count], dh[stage.gates.count], ds[info.states];
    V dp[info.params + 1], dkept_new[L::kSlots], made[stage.values + 1];
    load_kept<kStage>(at, r, p, kept, save);
    load_before(at, r, s);
    T* const dparams = at.dparams + r * L::kParamRow;
    if constexpr (is_last) {
      s_new[0] = V::load(at.h + r * args_.y_stride, at.lanes);
      for (int i = 1; i < info.states; ++i) s_new[i] = V::load(at.state[i] + r * L::kUnits);
      load_carry(at, r, dnext);
      if constexpr (kContinues) add_products(product, s_new, dnext);
      // Add dy last: a segment that resumes from another's dinitial must add in the same order, or
      // the bits would change.
      if (at.dy) dnext[0] = dnext[0] + V::load(at.dy + r * args_.y_stride, at.lanes);
    } else {
      load_products<kStage>(product, dmade);
      load_carry(at, r, ds);
      for (int i = 0; i < info.params; ++i) dp[i] = V::load(dparams + i * L::kUnits);
      for (int k = 0; k < stage.saved; ++k)
        if (info.seen_place(kOwn + k) >= 0) dsave[k] = V::load(dkept(at, r, kOwn + k));
    }
    Cell::template backward<kStage>(Gradients<V>{p, s, kept, save, s_new, dnext, dmade, dsave, da,
                                                 dx, dh, ds, dp, dkept_new, made});
    store_gates<kStage>(at, r, stage.split ? dx : da, stage.split ? dh : da);
    store_carry(at, r, ds);
    for (int i = 0; i < info.params; ++i) dp[i].store(dparams + i * L::kUnits);
    for (int k = stage.sees.first; k < stage.sees.end(); ++k) dkept_new[k].store(dkept(at, r, k));
    if constexpr (!is_last) store_values<kStage>(at, r, made);
    if constexpr (is_last && kFirst > 0) {  // made again for the weights' gradients
      V opening[info.opening_values()];
      Cell::template forward<0>(Values<V>{.s = s, .made = opening});
      store_values<0>(at, r, opening);
    }
  }
  template <int kStage>
  RNNFAST_INLINE void store_values(const Place& at, Index r, const V* made) const {
    for (int i = 0; i < info.stages[kStage].values; ++i)
      made[i].store(work_.values[info.first_value(kStage) + i] + at.values + r * H_, at.lanes);
  }

  void store_initial() const {
    for (int s = 0; s < info.states; ++s)
      for (Index tile = share_.begin; tile < share_.end; ++tile)
        for (Index r = 0; r < rows_.batch; ++r)
          store_state<L>(carry(s, tile, r), tile, r, rows_, H_, args_.dinitial[s]);
  }

  static constexpr Index kGateRow = F::operand(L::kGateRow);       // lanes of a row's gradients
  static constexpr int kFirst = info.first();                      // the first stage with products
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
