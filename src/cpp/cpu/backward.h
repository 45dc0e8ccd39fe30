#pragma once
// The backward pass of one layer in one direction; every thread of the team runs it.
//
// Chunks of steps from the last processed one to the first. Step by step: the gradient of h through
// the recurrent product of the step processed after this one, then the cell, whose gate gradients
// go to a buffer of the chunk. At the end of a chunk that buffer is the right-hand side of the
// weight gradients (weight_gradient.h) and the left-hand side of dx.

#include "cpu/math.h"
#include "cpu/weight_gradient.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class Cell, class T>
class Backward {
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
        I_(args.size.input_size),
        H_(args.size.hidden_size),
        tiles_(L::tiles(H_)),
        work_(args.workspace, args.size, team.size),
        own_(partition(tiles_, rows_.batch, thread, team.size)),
        own_vectors_{own_.tiles.begin * L::kTileVectors,
                     min_index(L::vectors(H_), own_.tiles.end * L::kTileVectors)},
        share_(share(tiles_, thread, team.size)),
        product_(work_.products + thread * work_.kProducts),
        gates_tile_(rows_.total() * L::kSlotRow),
        states_tile_((rows_.batch + rows_.total()) * L::kUnits),
        chunk_tile_(work_.chunk_rows * L::kGateRow) {}

  void run() {
    prepare();
    team_.barrier();
    WeightGradient<L, T> weights(args_, team_, thread_, work_);
    const Index step = args_.size.reverse ? 1 : -1;
    Index t = args_.size.reverse ? 0 : rows_.steps - 1;
    for (int parity = 0; t >= 0 && t < rows_.steps; parity ^= 1) {
      const Chunk chunk = chunk_from(rows_, t, step, kBackwardChunkRows);
      current_ = {work_.dh[parity], chunk.row};
      for (; t != chunk.last + step; t += step) {
        time_step(t);
        later_ = current_;
      }
      team_.barrier();
      input_gradient(chunk);
      weights.accumulate(chunk, current_.gates, dx_gates());
    }
    if (rows_.steps) leave(t - step, 0);
    team_.barrier();
    weights.finish();
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
    const CellWeights<const T>& w = args_.weights;
    for_groups([&](Index v0, int vectors) {
      for (int p = 0; p < L::products.size; ++p) {
        // Threads that share the tiles share the packing of each panel as well.
        const Product product = L::products.item[p];
        pack_transposed<L>(w.weight_hh, H_, H_, product.first_gate, product.gates, v0, vectors,
                           own_.by_tiles ? Range{0, tiles_} : share_, recurrent_panel(p, v0));
      }
    });
    if (args_.dx)
      for (Index v0 = 0; v0 < L::vectors(I_); v0 += kMaxVectors)
        pack_transposed<L>(w.weight_ih, H_, I_, 0, info.gates, v0, input_vectors(v0), share_,
                           input_panel(v0));
    if constexpr (info.params)
      pack_units<L>(w.weight_channel, H_, info.params, share_, work_.params);
    for (int s = 0; s < info.states; ++s)
      load_state<L>(args_.dfinal[s], rows_, H_, share_, {0, rows_.batch},
                    work_.carry + s * tiles_ * carry_tile(), carry_tile());
    for (Index tile = share_.begin; tile < share_.end; ++tile) {
      const Index unit = tile * L::kUnits, count = min_index(L::kUnits, H_ - unit);
      for (Index r = 0; r < rows_.batch; ++r)
        for (Index j = 0; j < count; ++j)
          work_.h0[r * H_ + unit + j] =
              args_.initial[0] ? args_.initial[0][rows_.order[r] * H_ + unit + j] : T(0);
    }
    clear_padding(work_.dh[0]);
    clear_padding(work_.dh[1]);
    if constexpr (!info.additive) clear_padding(work_.dx);
  }

  // Vectors of the last tile that hold no units meet zero weights, and so must be numbers.
  void clear_padding(T* gates) const {
    const int used = L::tile_vectors(H_, tiles_ - 1);
    if (used == L::kTileVectors) return;
    const Range mine = share(work_.chunk_rows * info.gates, thread_, team_.size);
    for (Index i = mine.begin; i < mine.end; ++i)
      for (int v = used; v < L::kTileVectors; ++v)
        V(0).store(gates + (tiles_ - 1) * chunk_tile_ + i * L::kUnits + v * W);
  }

  // The columns of h's gradient in groups of up to four vectors, evenly over this thread's tiles.
  Index group_count() const {
    constexpr int most = L::kTileVectors > 1 ? L::kTileVectors : kMaxVectors;
    return (own_vectors_.end - own_vectors_.begin + most - 1) / most;
  }
  template <class F>
  RNNFAST_INLINE void group(Index i, F&& f) const {
    const Index count = own_vectors_.end - own_vectors_.begin, groups = group_count();
    Index first = i * L::kTileVectors, end = min_index(count, first + L::kTileVectors);
    if constexpr (L::kTileVectors == 1) first = count * i / groups, end = count * (i + 1) / groups;
    f(own_vectors_.begin + first, int(end - first));
  }
  // As in the forward pass, every other step goes backwards.
  template <class F>
  RNNFAST_INLINE void for_groups(F&& f, bool backwards = false) const {
    const Index groups = group_count();
    for (Index i = 0; i < groups; ++i) group(backwards ? groups - 1 - i : i, f);
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
    return work_.w_hh + L::vectors(H_) * W * tiles_ * L::kUnits * p.first_gate +
           v0 * W * tiles_ * L::kUnits * p.gates;
  }
  T* input_panel(Index v0) const { return work_.w_ih + v0 * W * tiles_ * L::kGateRow; }
  int input_vectors(Index v0) const { return int(min_index(kMaxVectors, L::vectors(I_) - v0)); }

  Index carry_tile() const { return rows_.batch * L::kUnits; }
  RNNFAST_INLINE T* carry(int s, Index tile, Index row) const {
    return work_.carry + (s * tiles_ + tile) * carry_tile() + row * L::kUnits;
  }
  RNNFAST_INLINE const T* state(int s, Index tile, Index row) const {
    return args_.states + ((s - 1) * tiles_ + tile) * states_tile_ + row * L::kUnits;
  }

  void time_step(Index t) {
    const Index later = args_.size.reverse ? t - 1 : t + 1;
    const bool has = later >= 0 && later < rows_.steps;
    const Index count = rows_.count(t), going = has ? order_.continued(later) : 0;
    if (has) leave(later, going);
    for_groups(
        [&](Index v0, int vectors) {
          for_strips(0, going, [&](Index first, Index rows) {
            for (int p = 0; p < L::products.first_stage; ++p)
              recurrent_product(p, later_, later, v0, vectors, first, rows);
            for (int v = 0; v < vectors; ++v)
              for (Index r = 0; r < rows; ++r)
                cell_pointwise<true>(t, v0 + v, first + r, product_ + (r * vectors + v) * W);
          });
          for_strips(going, count, [&](Index first, Index rows) {
            for (int v = 0; v < vectors; ++v)
              for (Index r = 0; r < rows; ++r) cell_pointwise<false>(t, v0 + v, first + r, nullptr);
          });
        },
        t & 1);
    if constexpr (L::kTwoStages) {
      if (own_.by_tiles) team_.barrier();
      for_groups([&](Index v0, int vectors) {
        for_strips(0, count, [&](Index first, Index rows) {
          recurrent_product(kSecond, current_, t, v0, vectors, first, rows);
          const T* dq = product_ + kSecond * kProduct;
          for (int v = 0; v < vectors; ++v)
            for (Index r = 0; r < rows; ++r)
              operand_pointwise(t, v0 + v, first + r, dq + (r * vectors + v) * W);
        });
      });
    }
    if (own_.by_tiles) team_.barrier();
  }

  // The sequences [going, ..) of step t started there: what comes through its recurrent products
  // belongs to their initial states.
  void leave(Index t, Index going) {
    for_groups([&](Index v0, int vectors) {
      for_strips(going, rows_.count(t), [&](Index first, Index rows) {
        for (int p = 0; p < L::products.first_stage; ++p)
          recurrent_product(p, later_, t, v0, vectors, first, rows);
        for (int v = 0; v < vectors; ++v)
          for (Index r = 0; r < rows; ++r) {
            const At at(v0 + v);
            V s[info.states], ds[info.states];
            load_states(at, -1, first + r, s);
            for (int i = 0; i < info.states; ++i)
              ds[i] = V::load(carry(i, at.tile, first + r) + at.v * W);
            add_product(product_ + (r * vectors + v) * W, s, ds);
            for (int i = 0; i < info.states; ++i)
              ds[i].store(carry(i, at.tile, first + r) + at.v * W);
          }
      });
    });
  }

  // Gradient of product p's operand for some rows of step t, whose gates are in `buffer`.
  void recurrent_product(int p, const GateBuffer& buffer, Index t, Index v0, int vectors,
                         Index first, Index rows) {
    const Product product = L::products.item[p];
    transposed_product<L>(buffer.gates + (rows_.offset[t] + first - buffer.row) * L::kGateRow +
                              product.first_gate * L::kUnits,
                          chunk_tile_, product.gates, recurrent_panel(p, v0), vectors, tiles_, rows,
                          product_ + p * kProduct);
  }

  // A vector of hidden units and its place in a tile.
  struct At {
    Index vector, tile, unit;
    int v;
    RNNFAST_INLINE explicit At(Index vec)
        : vector(vec), tile(vec / L::kTileVectors), unit(vec * W), v(int(vec % L::kTileVectors)) {}
  };

  // The states after step t, or the initial ones for t < 0, of sequence r.
  RNNFAST_INLINE void load_states(const At& at, Index t, Index r, V* s) const {
    const int lanes = L::lanes(H_, at.vector);
    s[0] = t < 0 ? V::load(work_.h0 + r * H_ + at.unit, lanes)
                 : V::load(args_.y + (rows_.offset[t] + r) * args_.y_stride + at.unit, lanes);
    const Index row = t < 0 ? r : rows_.batch + rows_.offset[t] + r;
    for (int i = 1; i < info.states; ++i) s[i] = V::load(state(i, at.tile, row) + at.v * W);
  }

  // Adds what came through the first products (one vector each) to the gradient of the states s.
  RNNFAST_INLINE void add_product(const T* product, const V* s, V* ds) const {
    ds[0] = ds[0] + V::load(product);
    if constexpr (info.operands > 1) {
      V published[kMaxOperands];
      for (int o = 1; o < info.operands; ++o) published[o] = V::load(product + o * kProduct);
      Cell::publish_backward(s, published, ds);
    }
  }

  // Offset of a row's vector in the chunk's buffers of gates.
  RNNFAST_INLINE Index gate_offset(const At& at, Index t, Index r) const {
    return at.tile * chunk_tile_ + (rows_.offset[t] + r - current_.row) * L::kGateRow + at.v * W;
  }
  RNNFAST_INLINE Index param_offset(const At& at, Index t, Index r) const {
    return (at.tile * work_.chunk_rows + rows_.offset[t] + r - current_.row) * L::kParamRow +
           at.v * W;
  }

  RNNFAST_INLINE void load_saved(const At& at, Index t, Index r, V* save, V* p) const {
    const T* slots =
        args_.gates + at.tile * gates_tile_ + (rows_.offset[t] + r) * L::kSlotRow + at.v * W;
    for (int k = 0; k < info.saved; ++k) save[k] = V::load(slots + k * L::kUnits);
    for (int i = 0; i < info.params; ++i)
      p[i] = V::load(work_.params + at.tile * L::kParamRow + i * L::kUnits + at.v * W);
  }
  RNNFAST_INLINE void store_gates(const At& at, Index t, Index r, const V* dx, const V* dh,
                                  const V* dp) const {
    const Index offset = gate_offset(at, t, r);
    for (int g = 0; g < info.gates; ++g) {
      dh[g].store(current_.gates + offset + g * L::kUnits);
      if constexpr (!info.additive) dx[g].store(work_.dx + offset + g * L::kUnits);
    }
    for (int i = 0; i < info.params; ++i)
      dp[i].store(work_.dparams + param_offset(at, t, r) + i * L::kUnits);
  }

  template <bool kHasProduct>
  RNNFAST_INLINE void cell_pointwise(Index t, Index vector, Index r, const T* product) {
    const At at(vector);
    const Index before = r < order_.continued(t) ? order_.previous(t) : -1;
    V save[info.saved + 1], p[info.params + 1], s[info.states], s_new[info.states];
    V ds_new[info.states], ds[info.states], dx[info.gates], dh[info.gates], dp[info.params + 1];
    load_saved(at, t, r, save, p);
    load_states(at, before, r, s);
    load_states(at, t, r, s_new);
    for (int i = 0; i < info.states; ++i) ds_new[i] = V::load(carry(i, at.tile, r) + at.v * W);
    if (args_.dy)
      ds_new[0] = ds_new[0] + V::load(args_.dy + (rows_.offset[t] + r) * args_.y_stride + at.unit,
                                      L::lanes(H_, vector));
    if constexpr (kHasProduct) add_product(product, s_new, ds_new);
    if constexpr (L::kTwoStages)  // gates of the first stage that have no gradient yet
      for (int g = 0; g < info.gates; ++g) dx[g] = dh[g] = V(0);
    Cell::backward(save, p, s, s_new, ds_new, dx, dh, dp, ds);
    store_gates(at, t, r, dx, dh, dp);
    for (int i = 0; i < info.states; ++i) ds[i].store(carry(i, at.tile, r) + at.v * W);
    if constexpr (info.operands > 1) {  // made again for the weight gradient
      V published[kMaxOperands];
      Cell::publish(s, published);
      for (int o = 1; o < info.operands; ++o) store_operand(o, at, t, r, published[o]);
    }
  }

  RNNFAST_INLINE void operand_pointwise(Index t, Index vector, Index r, const T* dq_row) {
    const At at(vector);
    const Index before = r < order_.continued(t) ? order_.previous(t) : -1;
    V save[info.saved + 1], p[info.params + 1], s[info.states], ds[info.states];
    V dx[info.gates], dh[info.gates], dp[info.params + 1], q[1];
    load_saved(at, t, r, save, p);
    load_states(at, before, r, s);
    const Index offset = gate_offset(at, t, r);
    for (int g = 0; g < info.gates; ++g) {
      dh[g] = V::load(current_.gates + offset + g * L::kUnits);
      dx[g] = V::load(dx_gates() + offset + g * L::kUnits);
    }
    for (int i = 0; i < info.params; ++i)
      dp[i] = V::load(work_.dparams + param_offset(at, t, r) + i * L::kUnits);
    for (int i = 0; i < info.states; ++i) ds[i] = V::load(carry(i, at.tile, r) + at.v * W);
    const V dq[1] = {V::load(dq_row)};
    Cell::operand_backward(save, p, s, dq, q, dx, dh, dp, ds);
    store_gates(at, t, r, dx, dh, dp);
    for (int i = 0; i < info.states; ++i) ds[i].store(carry(i, at.tile, r) + at.v * W);
    store_operand(kSecond, at, t, r, q[0]);
  }

  RNNFAST_INLINE void store_operand(int product, const At& at, Index t, Index r, V value) const {
    value.store(work_.operands[product] + (rows_.offset[t] + r - current_.row) * H_ + at.unit,
                L::lanes(H_, at.vector));
  }

  // dx of this thread's share of a chunk's rows.
  void input_gradient(const Chunk& chunk) {
    if (!args_.dx) return;
    const Range mine = share(chunk.rows, thread_, team_.size);
    for_blocks(mine.end - mine.begin, kStripRows, [&](Index at, Index rows) {
      const Index first = mine.begin + at;
      for (Index v0 = 0; v0 < L::vectors(I_); v0 += kMaxVectors) {
        const int vectors = input_vectors(v0);
        transposed_product<L>(dx_gates() + first * L::kGateRow, chunk_tile_, info.gates,
                              input_panel(v0), vectors, tiles_, rows, product_);
        for (Index r = 0; r < rows; ++r)
          for (int v = 0; v < vectors; ++v) {
            const int lanes = int(min_index(W, I_ - (v0 + v) * W));
            T* to = args_.dx + (chunk.row + first + r) * args_.dx_stride + (v0 + v) * W;
            V value = V::load(product_ + (r * vectors + v) * W);
            if (args_.add_dx) value = value + V::load(to, lanes);
            value.store(to, lanes);
          }
      }
    });
  }

  void store_initial() const {
    for (int s = 0; s < info.states; ++s)
      for (Index tile = share_.begin; tile < share_.end; ++tile)
        for (Index r = 0; r < rows_.batch; ++r)
          store_state<L>(carry(s, tile, r), tile, r, rows_, H_, args_.dinitial[s]);
  }

  static constexpr int kSecond = L::products.size - 1;             // of a cell with two stages
  static constexpr Index kProduct = kStripRows * kMaxVectors * W;  // values a product in scratch

  const BackwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const PackedRows& rows_;
  const StepOrder order_;
  const Index I_, H_, tiles_;
  const BackwardWorkspace<L, T> work_;
  const Partition own_;  // of the time loop
  const Range own_vectors_;
  const Range share_;  // tiles of everything else
  T* const product_;   // this thread's recurrent products
  const Index gates_tile_, states_tile_, chunk_tile_;
  GateBuffer current_{}, later_{};  // of this chunk; of the step processed after this one
};

}  // namespace RNNFAST_ISA_NAMESPACE
