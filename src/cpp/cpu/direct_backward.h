#pragma once
// The backward pass's products with weights, and their gradients, in place in the caller's arrays,
// for calls of a few rows (see direct.h). Every sum has the same order as with packed weights, so
// the bits are the same.

#include "cpu/backward_workspace.h"

namespace RNNFAST_ISA_NAMESPACE {

// sums (kRows, vectors * W) (+)= rows of gradients, which are operands, times rows [0, depth) of a
// matrix, from one column on. The matrix ends `left` values after the first value read: vectors may
// read past their row into the next one, but not past this end.
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

// One step of the matrix: the vector of columns at w in rows [k, k + kStep), which all end before
// the matrix does if `whole`.
template <class P>
RNNFAST_INLINE Vec<RealOf<P>> matrix_step(const RowArgs<RealOf<P>>& args, Index k, Index column,
                                          bool whole) {
  using V = Vec<RealOf<P>>;
  V rows[Format<P>::kStep];
#pragma GCC unroll 2
  for (int i = 0; i < Format<P>::kStep; ++i) {
    const Index at = (k + i) * args.columns + column;
    const Index left = k + i < args.depth ? max_index(0, args.left - at) : 0;
    rows[i] = whole ? V::load(args.w + at)
                    : V::load(args.w + at, int(min_index(kLanes<RealOf<P>>, left)));
  }
  return Format<P>::join(rows);
}

template <class P, int kRows, int kVectors>
__attribute__((noinline)) void row_block(const RowArgs<RealOf<P>>& args) {
  using F = Format<P>;
  using T = RealOf<P>;
  using V = Vec<T>;
  constexpr Index W = kLanes<T>;
  RawOf<P> sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = args.add ? V::load(args.sums + r * args.ldc + v * W).v : RawOf<P>{};
  Index whole = args.left < kVectors * W
                    ? 0
                    : min_index(args.depth, (args.left - kVectors * W) / args.columns + 1);
  whole -= whole % F::kStep;
  const auto add = [&](Index k, bool is_whole) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const RawOf<P> step = matrix_step<P>(args, k, v * W, is_whole).v;
#pragma GCC unroll 2
      for (int part = 0; part < F::kParts; ++part)
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
          sums[r][v] = F::multiply_add(sums[r][v],
                                       broadcast(args.a[r * args.lda + F::operand_lanes(k) + part]),
                                       F::column(step, part));
    }
  };
  if constexpr (F::kRounds) {
#pragma GCC unroll 1
    for (Index k = 0; k < whole; k += F::kStep) add(k, true);
  } else {
    Ahead<T> none{args.w, 0};
    multiply<P, kRows, kVectors, false>(sums, args.a, args.lda, args.w, args.columns, whole, none);
  }
#pragma GCC unroll 1
  for (Index k = whole; k < args.depth; k += F::kStep) add(k, false);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V(sums[r][v]).store(args.sums + r * args.ldc + v * W);
}

template <class P>
struct RowTable {
  using Fn = void (*)(const RowArgs<RealOf<P>>&);
  Fn fn[kMaxVectors][kMaxBlockRows] = {};

  template <int kVectors, int kRows>
  constexpr void fill() {
    fn[kVectors - 1][kRows - 1] = &row_block<P, kRows, kVectors>;
    if constexpr (kRows < kBlockRows[kVectors]) fill<kVectors, kRows + 1>();
  }
  constexpr RowTable() {
    fill<1, 1>();
    fill<2, 1>();
    fill<3, 1>();
    fill<4, 1>();
  }
};
template <class P>
inline constexpr RowTable<P> kRowBlocks{};

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
template <class P>
void direct_transposed(const Layout<RealOf<P>>& l, const RealOf<P>* gradient, Index tile_stride,
                       const DirectMatrix<RealOf<P>>& m, Index tiles, Index rows, RealOf<P>* out,
                       RealOf<P>* part, Index ldc) {
  using F = Format<P>;
  using T = RealOf<P>;
  using V = Vec<T>;
  const Index step = max_index(1, kTransposedDepth / F::steps(m.gates.count * l.units));
  const Index lda = F::operand_lanes(l.gate_row);
  for (Index group = 0; group < tiles; group += step) {
    T* sums = group ? part : out;
    for (Index tile = group; tile < min_index(tiles, group + step); ++tile)
      for (int g = 0; g < m.gates.count; ++g) {
        const Index row = m.blocks.of(m.gates.first + g) * m.hidden + tile * l.units;
        const T* a = gradient + tile * tile_stride + F::operand_lanes(g * l.units);
        for_blocks(m.vectors.end - m.vectors.begin, kMaxVectors, [&](Index first, Index count) {
          const Index column = (m.vectors.begin + first) * l.W, at = row * m.columns + column;
          for_blocks(rows, kBlockRows[count], [&](Index r, Index block) {
            kRowBlocks<P>.fn[count - 1][block - 1](
                {.a = a + r * lda,
                 .lda = lda,
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

// One row of a weight's gradient: to (columns,) = or, if `add`, += the sum over kRows rows of
// operands of value `unit` of g's row r, times a[r]. Large gradients are stored around the caches.
template <class P, int kRows>
void gradient_row(const RealOf<P>* const* a, const RealOf<P>* g, Index g_stride, Index unit,
                  Index columns, bool large, bool add, RealOf<P>* to) {
  using F = Format<P>;
  using T = RealOf<P>;
  using V = Vec<T>;
  constexpr Index W = kLanes<T>;
  constexpr int kSteps = int(F::steps(kRows));
  RawOf<P> factor[kSteps + 1];
#pragma GCC unroll 8
  for (int k = 0; k < kSteps; ++k) {
    T values[F::kStep]{};
#pragma GCC unroll 2
    for (int i = 0; i < F::kStep; ++i)
      if (k * F::kStep + i < kRows) values[i] = F::at(g + (k * F::kStep + i) * g_stride, unit);
    factor[k] = broadcast(F::step(values, F::kStep));
  }
  const auto sum = [&](Index at, int lanes) {
    RawOf<P> total{};
#pragma GCC unroll 8
    for (int k = 0; k < kSteps; ++k) {
      V rows[F::kStep]{};
#pragma GCC unroll 2
      for (int i = 0; i < F::kStep; ++i)
        if (k * F::kStep + i < kRows) rows[i] = V::load(a[k * F::kStep + i] + at, lanes);
      const RawOf<P> step = F::join(rows).v;
#pragma GCC unroll 2
      for (int part = 0; part < F::kParts; ++part)
        total = F::multiply_add(total, F::column(factor[k], part), F::column(step, part));
    }
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
  using F = Format<P>;
  static constexpr Index W = kLanes<T>;

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
    write_sums<P>(dx, l_.gate_row, l_.info.input, l_.info.gates, to.bias_ih);
    write_sums<P>(dh, l_.gate_row, l_.info.recurrent, l_.info.gates, to.bias_hh);
    write_sums<T>(work_.dparams, l_.param_row, {}, l_.info.params, to.weight_channel);
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

  // Calls f(row 0 of a tile's sums, value in the row, lanes, row of the weight) for the vectors of
  // units of this thread's tiles and each of some gates or parameters. A row has `stride` values of
  // format Q.
  template <class Q, class Function>
  RNNFAST_INLINE void for_vectors(const T* sums, Index stride, const RowBlocks& blocks, Span which,
                                  Function&& f) const {
    const Index tile_sums = work_.chunk_rows * Format<Q>::operand_lanes(stride);
    for (Index tile = share_.begin; tile < share_.end; ++tile)
      for (int g = which.first; g < which.end(); ++g)
        for (Index v = 0; v < l_.used_vectors(H_, tile); ++v) {
          const Index block = blocks.of(g), unit = tile * l_.units + v * W;
          if (block >= 0)
            f(sums + tile * tile_sums, g * l_.units + v * W, l_.lanes(H_, unit / W),
              block * H_ + unit);
        }
  }
  // The same for single units, of gate gradients.
  template <class Function>
  RNNFAST_INLINE void for_units(const T* gates, const RowBlocks& blocks, Span which,
                                Function&& f) const {
    for_vectors<P>(gates, l_.gate_row, blocks, which,
                   [&](const T* from, Index at, int lanes, Index row) {
                     for (Index i = 0; i < lanes; ++i) f(from, at + i, row + i);
                   });
  }

  void write_matrix(const T* const* rows, const T* gates, const RowBlocks& blocks, Span which,
                    Index columns, T* to) const {
    if (!to) return;
    using Fn = void (*)(const T* const*, const T*, Index, Index, Index, bool, bool, T*);
    static constexpr Fn kFns[kDirectRows] = {
        &gradient_row<P, 0>, &gradient_row<P, 1>, &gradient_row<P, 2>, &gradient_row<P, 3>,
        &gradient_row<P, 4>, &gradient_row<P, 5>, &gradient_row<P, 6>, &gradient_row<P, 7>};
    const bool large = Index(l_.info.gates * H_ * columns * sizeof(T)) >= kStreamedBytes;
    for_units(gates, blocks, which, [&](const T* g, Index unit, Index row) {
      kFns[n_](rows, g, lane_row(), unit, columns, large, args_.add_dweights, to + row * columns);
    });
  }

  // Computes the gradient of weight_ih for indices, which stand for one-hot rows.
  void scatter(const T* gates, T* to) const {
    if (!to) return;
    for_units(gates, l_.info.input, l_.input_gates, [&](const T* g, Index unit, Index row) {
      if (!args_.add_dweights)
        gradient_row<P, 0>(nullptr, nullptr, 0, 0, I_, false, false, to + row * I_);
      for (Index r = 0; r < n_; ++r) add_index(g, unit, r, to + row * I_);
    });
  }

  // Sums the gate gradients of all rows with row r's index, if r is the first of them.
  void add_index(const T* g, Index unit, Index r, T* to) const {
    const Index index = args_.indices[r];
    for (Index i = 0; i < r; ++i)
      if (args_.indices[i] == index) return;
    T total = 0;
    for (Index i = r; i < n_; ++i)
      if (args_.indices[i] == index) total += F::at(g + i * lane_row(), unit);
    to[index] += total;
  }

  // Sums over all rows, for a bias or the channel parameters, unless `to` is null: products with
  // ones.
  template <class Q>
  void write_sums(const T* sums, Index stride, const RowBlocks& blocks, int count, T* to) const {
    using G = Format<Q>;
    if (!to) return;
    const Index row_lanes = G::operand_lanes(stride);
    Vec<T> ones[G::kStep];
    for (Vec<T>& one : ones) one = Vec<T>(1);
    for_vectors<Q>(sums, stride, blocks, {0, count},
                   [&](const T* from, Index at, int lanes, Index row) {
                     Vec<T> total(0);
                     for (Index r = 0; r < n_; r += G::kStep) {
                       Vec<T> rows[G::kStep]{};
                       for (Index i = 0; i < min_index(G::kStep, n_ - r); ++i)
                         rows[i] = G::load(from + (r + i) * row_lanes + G::operand_lanes(at));
                       for (int part = 0; part < G::kParts; ++part)
                         total = G::multiply_add(total.v, G::column(G::join(ones).v, part),
                                                 G::column(G::join(rows).v, part));
                     }
                     if (args_.add_dweights) total = Vec<T>::load(to + row, lanes) + total;
                     total.store(to + row, lanes);
                   });
  }

  Index lane_row() const { return F::operand_lanes(l_.gate_row); }

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
