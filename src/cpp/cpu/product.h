#pragma once
// Products of whole row-major matrices, C (rows, columns) = op(A) op(B), built from gemm.h's
// blocks.
//
// B is packed into panels that the team shares; a thread computes strips of rows times panels. Each
// element of C is summed in the order of the depth, in blocks of a fixed size, whatever the number
// of threads and rows.

#include "core/team.h"
#include "cpu/dense_table.h"
#include "cpu/direct.h"

namespace RNNFAST_ISA_NAMESPACE {

inline constexpr Index kProductDepth = 512;     // of the panels packed at once
inline constexpr Index kProductColumns = 1024;  // a multiple of a panel's columns
inline constexpr Index kProductRows = 96;       // of a strip, at most

template <class T, ProductForm kForm>
class MatrixProduct {
 public:
  static constexpr Index W = kLanes<T>;
  static constexpr bool kTransposedB = kForm == ProductForm::nt;

  static Index workspace(Index columns, Index depth) {
    return min_index(kProductColumns, padded(columns)) * (min_index(kProductDepth, depth) + 1);
  }

  MatrixProduct(const ProductArgs<T>& args, const Team& team, int thread, T* workspace)
      : args_(args), team_(team), thread_(thread) {
    bias_ = workspace;
    panels_ = bias_ + min_index(kProductColumns, padded(args.columns));
  }

  void run() {
    if constexpr (kTransposedB)
      if (args_.rows < kDirectRows && !args_.add) return run_direct();
    for (column_ = 0; column_ < args_.columns; column_ += kProductColumns) {
      columns_ = min_index(kProductColumns, args_.columns - column_);
      for (depth_ = 0; depth_ < args_.depth; depth_ += kProductDepth) {
        deep_ = min_index(kProductDepth, args_.depth - depth_);
        pack();
        team_.barrier();
        multiply_strips();
        team_.barrier();
      }
    }
  }

 private:
  // For few rows, reads B in place, with the same bits (direct.h).
  void run_direct() const {
    using V = Vec<T>;
    if (args_.rows == 0) return;
    const Range mine = share(padded(args_.columns) / W, thread_, team_.size);
    for (Index v = mine.begin; v < mine.end; ++v) {
      const int lanes = int(min_index(W, args_.columns - v * W));
      T bias[W], c[kDirectRows * W];
      (args_.bias ? V::load(args_.bias + v * W, lanes) : V(0)).store(bias);
      kDirect<T>.fn[lanes == W][args_.rows - 1]({.a = args_.a,
                                                 .lda = args_.depth,
                                                 .w = args_.b + v * W * args_.depth,
                                                 .ldw = args_.depth,
                                                 .lanes = lanes,
                                                 .depth = args_.depth,
                                                 .depth_block = kProductDepth,
                                                 .c = c,
                                                 .ldc = W,
                                                 .bias = bias});
      for (Index r = 0; r < args_.rows; ++r)
        V::load(c + r * W).store(args_.c + r * args_.columns + v * W, lanes);
    }
  }

  static Index padded(Index columns) { return (columns + W - 1) / W * W; }
  Index vectors() const { return padded(columns_) / W; }

  // Calls f(first column, vectors) for the panels [begin, end).
  template <class F>
  void for_panels(Range range, F&& f) const {
    for (Index i = range.begin; i < range.end; ++i) {
      const Index first = vectors() * i / panels(), next = vectors() * (i + 1) / panels();
      f(first * W, int(next - first));
    }
  }
  Index panels() const { return (vectors() + kMaxVectors - 1) / kMaxVectors; }

  void pack() {
    if (args_.bias && depth_ == 0 && thread_ == 0)
      pad_rows<T>(args_.bias + column_, 0, 1, columns_, bias_, padded(columns_));
    for_panels(share(panels(), thread_, team_.size), [&](Index first, int count) {
      T* to = panels_ + first * deep_;
      const Index column = column_ + first, width = count * W;
      if constexpr (kTransposedB) {
        for (Index v = 0; v < width; v += W)
          transpose_in<T>(args_.b + (column + v) * args_.depth + depth_, args_.depth,
                          int(min_index(W, args_.columns - column - v)), deep_, to + v, width);
      } else {
        pad_rows<T>(args_.b + depth_ * args_.columns + column, args_.columns, deep_,
                    args_.columns - column, to, width);
      }
    });
  }

  // Multiplies strips by panels in contiguous shares, with enough strips to give every thread some.
  void multiply_strips() {
    const Index share_rows = (args_.rows + team_.size - 1) / team_.size;
    const Index most = max_index(kMaxBlockRows, min_index(kProductRows, share_rows));
    const Index strips = (args_.rows + most - 1) / most, n = panels();
    const Range tasks = share(strips * n, thread_, team_.size);
    for (Index s = tasks.begin / n; s * n < tasks.end; ++s) {
      const Index first = args_.rows * s / strips, rows = args_.rows * (s + 1) / strips - first;
      for_panels({max_index(0, tasks.begin - s * n), min_index(n, tasks.end - s * n)},
                 [&](Index column, int count) { multiply_panel(first, rows, column, count); });
    }
  }

  void multiply_panel(Index first, Index rows, Index column, int count) {
    const Index columns = min_index(count * W, columns_ - column);
    const BlockArgs<T> block{.a = args_.a + first * args_.depth + depth_,
                             .lda = args_.depth,
                             .b = panels_ + column * deep_,
                             .ldb = count * W,
                             .depth = deep_,
                             .c = args_.c + first * args_.columns + column_ + column,
                             .ldc = args_.columns,
                             .columns = int(columns),
                             .bias = args_.bias && depth_ == 0 ? bias_ + column : nullptr,
                             .add = args_.add || depth_ > 0};
    multiply_rows<T>(block, rows);
  }

  const ProductArgs<T>& args_;
  const Team& team_;
  const int thread_;
  T *bias_, *panels_;
  Index column_ = 0, columns_ = 0;  // of C, packed at present
  Index depth_ = 0, deep_ = 0;      // of the sum, packed at present
};

}  // namespace RNNFAST_ISA_NAMESPACE
