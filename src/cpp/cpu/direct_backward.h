#pragma once
// The backward pass's products with weights, and their gradients, in place in the caller's arrays,
// for calls of a few rows (see direct.h). Every sum has the same order as with packed weights, so
// the bits are the same.

#include "cpu/backward_workspace.h"

namespace RNNFAST_ISA_NAMESPACE {

// sums (kRows, vectors * W) (+)= rows of gradients times rows [0, depth) of a matrix, from one
// column on. The matrix ends `left` values after the first value read: vectors may read past their
// row into the next one, but not past this end.
template <class T>
struct RowArgs {
  const T* a;
  Index lda;
  const T* w;
  Index columns;  // of the matrix, its row stride
  Index left;
  Index depth;
  T* sums;
  Index ldc;
  bool add;
};

template <class T, int kRows, int kVectors>
__attribute__((noinline)) void row_block(const RowArgs<T>& args) {
  using V = Vec<T>;
  constexpr Index W = kLanes<T>;
  typename V::Raw sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = args.add ? V::load(args.sums + r * args.ldc + v * W).v : typename V::Raw{};
  const Index whole = args.left < kVectors * W
                          ? 0
                          : min_index(args.depth, (args.left - kVectors * W) / args.columns + 1);
  Ahead<T> none{args.w, 0};
  multiply<T, kRows, kVectors, false>(sums, args.a, args.lda, args.w, args.columns, whole, none);
  for (Index k = whole; k < args.depth; ++k)
    for (int v = 0; v < kVectors; ++v) {
      const Index at = k * args.columns + v * W;
      const int lanes = int(max_index(0, min_index(W, args.left - at)));
      const typename V::Raw w = V::load(args.w + at, lanes).v;
      for (int r = 0; r < kRows; ++r) sums[r][v] += broadcast(args.a[r * args.lda + k]) * w;
    }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V(sums[r][v]).store(args.sums + r * args.ldc + v * W);
}

template <class T>
struct RowTable {
  using Fn = void (*)(const RowArgs<T>&);
  Fn fn[kMaxVectors][kMaxBlockRows] = {};

  template <int kVectors, int kRows>
  constexpr void fill() {
    fn[kVectors - 1][kRows - 1] = &row_block<T, kRows, kVectors>;
    if constexpr (kRows < kBlockRows[kVectors]) fill<kVectors, kRows + 1>();
  }
  constexpr RowTable() {
    fill<1, 1>();
    fill<2, 1>();
    fill<3, 1>();
    fill<4, 1>();
  }
};
template <class T>
inline constexpr RowTable<T> kRowBlocks{};

// The matrix of `direct_transposed`: the row blocks of some gates of a matrix (rows, columns), of
// which it computes the vectors of columns `vectors`.
template <class T>
struct DirectMatrix {
  const T* w;
  const RowBlocks& blocks;
  Index rows, hidden, columns;
  Span gates;
  Range vectors;
};

// out (rows, .) = the sum over all tiles of gradient rows [tile][row][gate][unit] times the matrix,
// in the order of transposed_product. `part` is scratch of the same size; both have row stride ldc.
// The matrix is read in memory order.
template <class T>
void direct_transposed(const Layout<T>& l, const T* gradient, Index tile_stride,
                       const DirectMatrix<T>& m, Index tiles, Index rows, T* out, T* part,
                       Index ldc) {
  using V = Vec<T>;
  const Index step = max_index(1, kTransposedDepth / (m.gates.count * l.units));
  for (Index group = 0; group < tiles; group += step) {
    T* sums = group ? part : out;
    for (Index tile = group; tile < min_index(tiles, group + step); ++tile)
      for (int g = 0; g < m.gates.count; ++g) {
        const Index row = m.blocks.of(m.gates.first + g) * m.hidden + tile * l.units;
        const T* a = gradient + tile * tile_stride + g * l.units;
        for_blocks(m.vectors.end - m.vectors.begin, kMaxVectors, [&](Index first, Index count) {
          const Index column = (m.vectors.begin + first) * l.W, at = row * m.columns + column;
          for_blocks(rows, kBlockRows[count], [&](Index r, Index block) {
            kRowBlocks<T>.fn[count - 1][block - 1](
                {.a = a + r * l.gate_row,
                 .lda = l.gate_row,
                 .w = m.w + at,
                 .columns = m.columns,
                 .left = m.rows * m.columns - at,
                 .depth = min_index(l.units, m.hidden - tile * l.units),
                 .sums = sums + r * ldc + first * l.W,
                 .ldc = ldc,
                 .add = tile > group || g > 0});
          });
        });
      }
    if (group)
      for (Index r = 0; r < rows; ++r)
        for (Index i = r * ldc; i < r * ldc + (m.vectors.end - m.vectors.begin) * l.W; i += l.W)
          (V::load(part + i) + V::load(out + i)).store(out + i);
  }
}

// One row of a weight's gradient: to (columns,) = or, if `add`, += the sum over kRows rows of g[r]
// a[r]. Large gradients are stored around the caches.
template <class T, int kRows>
void gradient_row(const T* const* a, const T* g, Index g_stride, Index columns, bool large,
                  bool add, T* to) {
  using V = Vec<T>;
  constexpr Index W = kLanes<T>;
  typename V::Raw factor[kRows + 1];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) factor[r] = broadcast(g[r * g_stride]);
  const auto sum = [&](Index at, int lanes) {
    typename V::Raw total{};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) total += factor[r] * V::load(a[r] + at, lanes).v;
    return V(total);
  };
  Index at = 0;
  if (add) {
    for (; at < columns; at += W) {
      const int lanes = int(min_index(W, columns - at));
      (sum(at, lanes) + V::load(to + at, lanes)).store(to + at, lanes);
    }
    return;
  }
  if (large && V::is_aligned(to))
    for (; at + W <= columns; at += W) sum(at, W).stream(to + at);
  for (; at + W <= columns; at += W) sum(at, W).store(to + at);
  if (at == columns) return;
  if (columns >= W)
    sum(columns - W, W).store(to + columns - W);
  else
    sum(0, int(columns)).store(to, int(columns));
}

// The gradients of all weights in a call of fewer than kDirectRows rows; those that are null are
// not wanted. The gate gradients are in dh (recurrent) and dx (input).
template <class P>
class DirectGradient {
  using T = RealOf<P>;

 public:
  DirectGradient(const Layout<T>& layout, const BackwardArgs<T>& args,
                 const BackwardWorkspace<P>& work, Range tiles)
      : l_(layout),
        args_(args),
        work_(work),
        rows_(args.size.rows),
        n_(rows_.total()),
        I_(args.size.input_size),
        H_(args.size.hidden_size),
        share_(tiles) {}

  void write(const T* dh, const T* dx) const {
    const CellWeights<T>& to = args_.dweights;
    const T* rows[kDirectRows];
    if (args_.x) {
      for (Index r = 0; r < n_; ++r) rows[r] = args_.x + r * args_.x_stride;
      write_matrix(rows, dx, l_.info.input, l_.input_gates, I_, to.weight_ih);
    } else {
      scatter(dx, to.weight_ih);
    }
    for (int p = 0; p < l_.products.size; ++p) {
      operand_rows(l_.products.item[p].operand, rows);
      write_matrix(rows, dh, l_.info.recurrent, l_.products.item[p].gates, H_, to.weight_hh);
    }
    write_sums(dx, l_.gate_row, l_.info.input, l_.info.gates, to.bias_ih);
    write_sums(dh, l_.gate_row, l_.info.recurrent, l_.info.gates, to.bias_hh);
    write_sums(work_.dparams, l_.param_row, {}, l_.info.params, to.weight_channel);
    Vec<T>::end_stream();
  }

 private:
  // Finds each row's operand.
  void operand_rows(Operand operand, const T** rows) const {
    const StepOrder order{rows_, args_.size.reverse};
    for (Index t = 0; t < rows_.steps; ++t)
      for (Index r = 0; r < rows_.count(t); ++r) {
        const Index row = rows_.offset[t] + r;
        if (operand.from == Operand::kValue)
          rows[row] = work_.values[operand.index] + row * H_;
        else if (args_.size.noise.drops())
          rows[row] = work_.h + row * H_;
        else if (r < order.continued(t))
          rows[row] = args_.y + (rows_.offset[order.previous(t)] + r) * args_.y_stride;
        else
          rows[row] = work_.h0 + r * H_;
      }
  }

  // Calls f(the unit's gradient in the first row of sums, row of the weight) for the units of this
  // thread's tiles and each of some gates or parameters. A row of sums has `stride` values.
  template <class Function>
  RNNFAST_INLINE void for_units(const T* sums, Index stride, const RowBlocks& blocks, Span which,
                                Function&& f) const {
    const Index units = l_.units, tile_sums = work_.chunk_rows * stride;
    for (Index tile = share_.begin; tile < share_.end; ++tile) {
      const Index first = tile * units, count = min_index(units, H_ - first);
      for (int g = which.first; g < which.end(); ++g) {
        const Index block = blocks.of(g);
        if (block < 0) continue;
        const T* from = sums + tile * tile_sums + g * units;
        for (Index unit = 0; unit < count; ++unit) f(from + unit, block * H_ + first + unit);
      }
    }
  }

  void write_matrix(const T* const* rows, const T* sums, const RowBlocks& blocks, Span gates,
                    Index columns, T* to) const {
    if (!to) return;
    using Fn = void (*)(const T* const*, const T*, Index, Index, bool, bool, T*);
    static constexpr Fn kFns[kDirectRows] = {
        &gradient_row<T, 0>, &gradient_row<T, 1>, &gradient_row<T, 2>, &gradient_row<T, 3>,
        &gradient_row<T, 4>, &gradient_row<T, 5>, &gradient_row<T, 6>, &gradient_row<T, 7>};
    const bool large = Index(l_.info.gates * H_ * columns * sizeof(T)) >= kStreamedBytes;
    for_units(sums, l_.gate_row, blocks, gates, [&](const T* g, Index row) {
      kFns[n_](rows, g, l_.gate_row, columns, large, args_.add_dweights, to + row * columns);
    });
  }

  // Computes the gradient of weight_ih for indices, which stand for one-hot rows.
  void scatter(const T* gates, T* to) const {
    if (!to) return;
    for_units(gates, l_.gate_row, l_.info.input, l_.input_gates, [&](const T* g, Index row) {
      if (!args_.add_dweights)
        gradient_row<T, 0>(nullptr, nullptr, 0, I_, false, false, to + row * I_);
      for (Index r = 0; r < n_; ++r) add_index(g, r, to + row * I_);
    });
  }

  // Sums the gate gradients of all rows with row r's index, if r is the first of them.
  void add_index(const T* g, Index r, T* to) const {
    const Index index = args_.indices[r];
    for (Index i = 0; i < r; ++i)
      if (args_.indices[i] == index) return;
    T total = 0;
    for (Index i = r; i < n_; ++i)
      if (args_.indices[i] == index) total += g[i * l_.gate_row];
    to[index] += total;
  }

  // Sums over all rows, for a bias or the channel parameters, unless `to` is null.
  void write_sums(const T* sums, Index stride, const RowBlocks& blocks, int count, T* to) const {
    if (!to) return;
    for_units(sums, stride, blocks, {0, count}, [&](const T* from, Index row) {
      T total = 0;
      for (Index r = 0; r < n_; ++r) total += from[r * stride];
      to[row] = args_.add_dweights ? to[row] + total : total;
    });
  }

  // A gradient of this size would leave the cache before anyone reads it.
  static constexpr Index kStreamedBytes = 4 << 20;

  const Layout<T>& l_;
  const BackwardArgs<T>& args_;
  const BackwardWorkspace<P>& work_;
  const PackedRows& rows_;
  const Index n_, I_, H_;
  const Range share_;
};

}  // namespace RNNFAST_ISA_NAMESPACE
