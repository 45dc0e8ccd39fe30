#pragma once
// Products that read weights in place in the caller's arrays, for calls of a few rows: packing a
// matrix would move several times the bytes that the product reads.
//
// Every sum has the same order as with packed weights, so the bits are the same. A format that
// rounds does so in registers.

#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

// Rows [0, lanes) of a weight matrix, one per lane, times some rows of operands. The depth counts
// values.
template <class T>
struct DirectArgs {
  const T* a;
  Index lda;
  const T* w;  // (lanes, depth), row stride ldw
  Index ldw;
  int lanes = 0;
  Index depth;
  Index depth_block;  // partial sums have this many terms
  T* c;               // whole vectors
  Index ldc;
  const T* bias;  // a whole vector
};

// sums += A W^T for the depths [from, end), in blocks of W lanes by W steps that are transposed in
// registers. Missing lanes repeat the last one.
template <class P, int kRows, bool kAllLanes>
RNNFAST_INLINE void multiply_direct(RawOf<P> (&sums)[kRows], const DirectArgs<RealOf<P>>& args,
                                    Index from, Index end) {
  using T = RealOf<P>;
  using F = Format<P>;
  constexpr int W = kLanes<T>;
  constexpr Index kDepth = W * F::kStep;
#pragma GCC unroll 1
  for (Index k = from; k < end; k += kDepth) {
    // If less than a block is left, take the block that ends at `end`, or a step's padding later,
    // and skip its first steps, which are done; a row shorter than a block is loaded in part.
    const Index at = max_index(0, min_index(k, F::steps(end) * F::kStep - kDepth));
    const Index left = min_index(kDepth, end - at);
    const int first = int(k - at) / F::kStep, last = int(F::steps(left));
    RawOf<P> columns[W];
    // A masked load cannot be folded into the transposition.
    const auto load = [&](auto... values) {
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j) {
        const int lane = kAllLanes ? j : int(min_index(j, args.lanes - 1));
        columns[j] = load_steps<P>(args.w + lane * args.ldw + at, values...).v;
      }
    };
    if (left == kDepth)
      load();
    else
      load(left);
    transpose_stage<T, W / 2>(columns);
    const T* a = args.a + F::operand_lanes(at);
    const auto add = [&](int j) {
#pragma GCC unroll 2
      for (int part = 0; part < F::kParts; ++part)
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
          sums[r] = F::multiply_add(sums[r], broadcast(a[r * args.lda + j * F::kParts + part]),
                                    F::column(columns[j], part));
    };
    if (first == 0 && last == W) {
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j) add(j);
    } else {
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j)
        if (j >= first && j < last) add(j);
    }
  }
}

template <class P, int kRows, bool kAllLanes>
__attribute__((noinline)) void direct_block(const DirectArgs<RealOf<P>>& args) {
  using V = Vec<RealOf<P>>;
  typename V::Raw total[kRows];
  for (Index k = 0; k == 0 || k < args.depth; k += args.depth_block) {
    typename V::Raw sums[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[r] = k == 0 ? V::load(args.bias).v : typename V::Raw{};
    multiply_direct<P, kRows, kAllLanes>(sums, args, k,
                                         min_index(args.depth, k + args.depth_block));
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) total[r] = k == 0 ? sums[r] : sums[r] + total[r];
  }
  if constexpr (!kAllLanes) {  // missing lanes get the bias only
    const typename V::RawInt lane = V::lane_numbers();
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) total[r] = lane < args.lanes ? total[r] : V::load(args.bias).v;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) V(total[r]).store(args.c + r * args.ldc);
}

template <class P>
struct DirectTable {
  using Fn = void (*)(const DirectArgs<RealOf<P>>&);
  Fn fn[2][kDirectRows - 1] = {};

  template <int kRows>
  constexpr void fill() {
    fn[0][kRows - 1] = &direct_block<P, kRows, false>;
    fn[1][kRows - 1] = &direct_block<P, kRows, true>;
    if constexpr (kRows + 1 < kDirectRows) fill<kRows + 1>();
  }
  constexpr DirectTable() { fill<1>(); }
};
template <class P>
inline constexpr DirectTable<P> kDirect{};

// Calls f(first row of the matrix, lanes, first column in the tile's gates) for each vector of some
// gates of a tile.
template <class T, class F>
RNNFAST_INLINE void for_gate_vectors(const Layout<T>& l, const RowBlocks& blocks, Index hidden,
                                     Index tile, Span gates, F&& f) {
  for (int g = gates.first; g < gates.end(); ++g)
    for (int v = 0; v < l.used_vectors(hidden, tile); ++v) {
      const Index vector = tile * l.tile_vectors + v;
      f(blocks.of(g) * hidden + vector * l.W, l.lanes(hidden, vector),
        (g * l.tile_vectors + v) * l.W);
    }
}

// Computes some gates of a tile for fewer than kDirectRows rows of a. In `args`, `w`, `bias` and
// `c` are the whole matrix, the tile's first bias and the first row's gates; each vector's own are
// derived from them.
template <class P>
RNNFAST_INLINE void direct_gates(const Layout<RealOf<P>>& l, DirectArgs<RealOf<P>> args,
                                 const RowBlocks& blocks, Index hidden, Index tile, Span gates,
                                 Index rows) {
  if (rows == 0) return;
  const DirectArgs<RealOf<P>> of = args;
  for_gate_vectors(l, blocks, hidden, tile, gates, [&](Index row, int lanes, Index column) {
    args.w = of.w + row * of.ldw;
    args.lanes = lanes;
    args.bias = of.bias + column;
    args.c = of.c + column;
    kDirect<P>.fn[lanes == l.W][rows - 1](args);
  });
}

// The same for one one-hot row.
template <class P>
RNNFAST_INLINE void direct_gather(const Layout<RealOf<P>>& l, const RealOf<P>* w, Index depth,
                                  Index index, Index hidden, Index tile, const RealOf<P>* bias,
                                  RealOf<P>* c) {
  using F = Format<P>;
  using V = Vec<RealOf<P>>;
  const auto add = [&](Index row, int lanes, Index column) {
    V weights[F::kStep]{};
    for (int j = 0; j < lanes; ++j) weights[0].v[j] = w[(row + j) * depth + index];
    (F::value(F::join(weights), 0) + V::load(bias + column)).store(c + column);
  };
  for_gate_vectors(l, l.info.input, hidden, tile, l.input_gates, add);
}

}  // namespace RNNFAST_ISA_NAMESPACE
