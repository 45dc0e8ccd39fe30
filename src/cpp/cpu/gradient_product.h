#pragma once
// The gradient of a matrix, C (rows, columns) (+)= A^T B for A (depth, rows) and B (depth,
// columns): a long sum for each element of a small C.
//
// Each thread owns columns of C, or rows if C has more rows, and threads share nothing. A is packed
// a strip of its columns at a time; B is read in place, except for a last vector that would reach
// beyond its row. Each element is summed in the order of the depth, in blocks of a fixed size.

#include "core/team.h"
#include "cpu/dense_table.h"
#include "cpu/pack.h"

namespace RNNFAST_ISA_NAMESPACE {

inline constexpr Index kGradientProductDepth = 128;  // a panel of B stays in the L1 cache
inline constexpr Index kGradientProductRows = 96;    // of a strip, at most

template <class T>
class GradientProduct {
  static constexpr Index W = kLanes<T>;
  static constexpr int kBlock = kBlockRows[kMaxVectors];

 public:
  static Index workspace(Index rows, Index depth, int threads) {
    return threads * min_index(kGradientProductDepth, depth) * width(rows);
  }

  GradientProduct(const ProductArgs<T>& args, const Team& team, int thread, T* workspace)
      : args_(args), own_rows_{0, args.rows}, own_vectors_{0, blocks_of(args.columns, W)} {
    Range& shared = args.columns < args.rows ? own_rows_ : own_vectors_;
    shared = share(shared.end, thread, team.size);
    strip_ = workspace + thread * min_index(kGradientProductDepth, args.depth) * width(args.rows);
    last_ = strip_ + min_index(kGradientProductDepth, args.depth) * strip_width(args.rows);
  }

  void run() {
    for (depth_ = 0; depth_ < args_.depth; depth_ += kGradientProductDepth) {
      deep_ = min_index(kGradientProductDepth, args_.depth - depth_);
      pack_last();
      for_blocks(own_rows_.end - own_rows_.begin, kGradientProductRows,
                 [&](Index at, Index rows) { multiply_strip(own_rows_.begin + at, rows); });
    }
  }

 private:
  // Values per step of the depth: of a strip of A, and of that plus the last panel of B.
  static Index strip_width(Index rows) { return min_index(kGradientProductRows, rows); }
  static Index width(Index rows) { return strip_width(rows) + kMaxVectors * W; }

  bool owns_partial() const {
    return own_vectors_.end * W > args_.columns && own_vectors_.end > own_vectors_.begin;
  }
  // Calls f(first vector, vectors) for this thread's panels.
  template <class F>
  void for_panels(F&& f) const {
    for_blocks(own_vectors_.end - own_vectors_.begin, kMaxVectors,
               [&](Index at, Index count) { f(own_vectors_.begin + at, count); });
  }
  const T* b_at(Index vector) const { return args_.b + depth_ * args_.columns + vector * W; }

  void pack_last() {
    if (!owns_partial()) return;
    Index first = 0, count = 0;
    for_panels([&](Index vector, Index vectors) { first = vector, count = vectors; });
    pad_rows<T>(b_at(first), args_.columns, deep_, args_.columns - first * W, last_, count * W);
  }

  void multiply_strip(Index first, Index rows) {
    for_blocks(rows, kBlock, [&](Index at, Index count) {
      pack_columns<T>(args_.a + depth_ * args_.rows + first + at, args_.rows, deep_, int(count),
                      strip_ + at * deep_);
    });
    for_panels([&](Index vector, Index vectors) {
      const bool partial = owns_partial() && vector + vectors == own_vectors_.end;
      BlockArgs<T> block{.a = nullptr,
                         .lda = 0,
                         .b = partial ? last_ : b_at(vector),
                         .ldb = partial ? vectors * W : args_.columns,
                         .depth = deep_,
                         .c = nullptr,
                         .ldc = args_.columns,
                         .columns = int(min_index(vectors * W, args_.columns - vector * W)),
                         .add = args_.add || depth_ > 0};
      for_blocks(rows, kBlock, [&](Index at, Index count) {
        block.a = strip_ + at * deep_;
        block.c = args_.c + (first + at) * args_.columns + vector * W;
        kBlocks<T, true>.fn[vectors - 1][count - 1](block);
      });
    });
  }

  const ProductArgs<T>& args_;
  Range own_rows_, own_vectors_;
  T *strip_, *last_;
  Index depth_ = 0, deep_ = 0;  // of the sum, multiplied at present
};

}  // namespace RNNFAST_ISA_NAMESPACE
