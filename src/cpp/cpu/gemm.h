#pragma once
// The one matrix kernel of the engine: a block of rows times a panel of up to four vectors of
// columns, with all sums in registers. Every product of a network is built from it.
//
// A panel is stored [depth][vectors * lanes], the depth in a format's steps, behind the heads of
// its columns if the format has them. Each element is summed in the order of the depth, with one
// fused multiply-add (or dot product) per part of a step. This does not depend on the block's
// number of rows, so a row's result never depends on the rows next to it.

#include "cpu/int8.h"

namespace RNNFAST_ISA_NAMESPACE {

RNNFAST_INLINE constexpr Index min_index(Index a, Index b) { return a < b ? a : b; }
RNNFAST_INLINE constexpr Index max_index(Index a, Index b) { return a > b ? a : b; }

inline constexpr int kMaxVectors = 4;

// Rows of a block for a panel of n vectors: as many sums as the register file holds.
#if RNNFAST_VECTOR_BYTES == 64 || defined(__aarch64__)
inline constexpr int kBlockRows[kMaxVectors + 1] = {0, 8, 8, 8, 6};
#else
inline constexpr int kBlockRows[kMaxVectors + 1] = {0, 8, 6, 4, 3};
#endif
inline constexpr int kMaxBlockRows = 8;

template <class T>
inline constexpr Index kLine = 64 / sizeof(T);  // values of a cache line

// Data to prefetch into the L2 cache for the next blocks, `step` values per step of the depth.
// Hardware prefetchers stop at the end of a panel.
template <class T>
struct Ahead {
  const T* at = nullptr;
  Index step = 0;
};

// Spreads the prefetching of `values` values evenly over blocks with `steps` steps of depth in all,
// because a burst of prefetches would delay other loads.
template <class T>
struct AheadShares {
  const T* next;  // or null
  Index step;

  RNNFAST_INLINE AheadShares(const T* from, Index values, Index steps)
      : AheadShares(from, (values + steps - 1) / steps) {}
  RNNFAST_INLINE AheadShares(const T* from, Index values_a_step)
      : next(from), step(min_index(values_a_step, kLine<T>)) {}
  RNNFAST_INLINE Ahead<T> take(Index depth) {
    if (!next) return {};
    const Ahead<T> ahead{next, step};
    next += depth * step;
    return ahead;
  }
};

// sums += one part of a step. A's lanes are `a_step` apart.
template <class P, int kRows, int kVectors>
RNNFAST_INLINE void multiply_part(SumOf<P> (&sums)[kRows][kVectors], const RealOf<P>* a,
                                  Index a_step, const RealOf<P>* b, int part) {
  using F = Format<P>;
  using V = Vec<RealOf<P>>;
  using Raw = typename V::Raw;
  constexpr int W = kLanes<RealOf<P>>;
  if constexpr (kVectors <= kRows || kRows == 1) {  // hold the vectors, broadcast A one by one
    Raw column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      column[v] = F::column(V::load(b + v * W).v, part);
      if (kRows > 1) RNNFAST_KEEP(column[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Raw row = broadcast(a[r * a_step]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = F::multiply_add(sums[r][v], row, column[v]);
    }
  } else {  // hold the broadcasts
    Raw row[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      row[r] = broadcast(a[r * a_step]);
      RNNFAST_KEEP(row[r]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Raw column = F::column(V::load(b + v * W).v, part);
      RNNFAST_KEEP(column);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][v] = F::multiply_add(sums[r][v], row[r], column);
    }
  }
}

// sums += A B over the depth. A is (rows, depth) with row stride lda, or packed [depth][kRows].
// Each step of the depth also prefetches one line of `ahead` into the L2 cache, if the format does.
template <class P, int kRows, int kVectors, bool kPackedA>
RNNFAST_INLINE void multiply(SumOf<P> (&sums)[kRows][kVectors], const RealOf<P>* a, Index lda,
                             const RealOf<P>* b, Index ldb, Index depth, Ahead<RealOf<P>>& ahead) {
  constexpr int kParts = Format<P>::kParts;
#pragma GCC unroll 1
  for (Index k = 0; k < depth; ++k, b += ldb, ahead.at += ahead.step) {
    if constexpr (Format<P>::kPrefetches) __builtin_prefetch(ahead.at, 0, 2);
#pragma GCC unroll 2
    for (int part = 0; part < kParts; ++part) {
      const Index at = k * kParts + part;
      multiply_part<P>(sums, kPackedA ? a + at * kRows : a + at, kPackedA ? 1 : lda, b, part);
    }
  }
}

// The rows of a panel, whose columns have heads and `depth` values.
template <class P>
RNNFAST_INLINE constexpr Index panel_rows(Index depth) {
  return Format<P>::kColumnHead + Format<P>::steps(depth);
}

// C (+)= bias + the sum of A_p B_p over `parts`, each one call of `multiply`; consecutive parts are
// `a_step` and `b_step` apart. C has `columns` columns, so its last vector may be partial.
template <class T>
struct BlockArgs {
  const T* a;
  Index lda;
  const T* b;
  Index ldb;
  Index depth;
  Index parts = 1;  // 1 if the format has heads
  Index a_step = 0, b_step = 0;
  T* c;
  Index ldc;
  int columns;
  const T* bias = nullptr;  // (columns,), padded to whole vectors
  bool add = false;
  Ahead<T> ahead = {};
};

template <class P, int kRows, int kVectors, bool kPackedA>
__attribute__((noinline)) void block(const BlockArgs<RealOf<P>>& args) {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  constexpr int W = kLanes<T>;
  const auto bias = [&](int v) { return args.bias ? V::load(args.bias + v * W) : V(0); };
  SumOf<P> sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const SumOf<P> start = F::start(bias(v), args.b + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[r][v] = start;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(args.c + r * args.ldc + v * W, 1, 3);
  const T *a = args.a + F::kRowHead, *b = args.b + F::kColumnHead * args.ldb;
  Ahead<T> ahead = args.ahead.at ? args.ahead : Ahead<T>{b, 0};
  for (Index p = 0; p < args.parts; ++p, a += args.a_step, b += args.b_step)
    multiply<P, kRows, kVectors, kPackedA>(sums, a, args.lda, b, args.ldb, args.depth, ahead);
  const int last = args.columns - (kVectors - 1) * W;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    T* c = args.c + r * args.ldc;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int lanes = v == kVectors - 1 ? last : W;
      V sum = F::finish(sums[r][v], args.a + r * args.lda, args.b + v * W, args.ldb, bias(v));
      if (args.add) sum = sum + V::load(c + v * W, lanes);
      sum.store(c + v * W, lanes);
    }
  }
}

template <class T>
using BlockFn = void (*)(const BlockArgs<T>&);

template <class P, bool kPackedA>
struct BlockTable {
  BlockFn<RealOf<P>> fn[kMaxVectors][kMaxBlockRows] = {};

  template <int kVectors, int kRows>
  constexpr void fill() {
    fn[kVectors - 1][kRows - 1] = &block<P, kRows, kVectors, kPackedA>;
    if constexpr (kRows < kBlockRows[kVectors]) fill<kVectors, kRows + 1>();
  }
  constexpr BlockTable() {
    fill<1, 1>();
    fill<2, 1>();
    fill<3, 1>();
    fill<4, 1>();
  }
};
template <class P, bool kPackedA>
inline constexpr BlockTable<P, kPackedA> kBlocks{};

RNNFAST_INLINE Index blocks_of(Index count, Index most) { return (count + most - 1) / most; }

// Splits `count` rows evenly into blocks of at most `most` rows and calls f(first, rows).
template <class F>
RNNFAST_INLINE void for_blocks(Index count, Index most, F&& f) {
  if (count <= most) {
    if (count > 0) f(Index(0), count);
    return;
  }
  const Index blocks = blocks_of(count, most);
  for (Index i = 0; i < blocks; ++i) {
    const Index first = count * i / blocks, end = count * (i + 1) / blocks;
    f(first, end - first);
  }
}

RNNFAST_INLINE constexpr int vectors_of(int columns, int lanes) {
  return (columns + lanes - 1) / lanes;
}

// Multiplies any number of rows by one panel. `args.a` and `args.c` point at the first row. The
// blocks share the prefetching of a panel of the same size at `args.ahead.at`.
template <class P>
RNNFAST_INLINE void multiply_rows(BlockArgs<RealOf<P>> args, Index rows) {
  using T = RealOf<P>;
  const T* a = args.a;
  T* c = args.c;
  const int vectors = vectors_of(args.columns, kLanes<T>);
  const Index depth = args.depth * args.parts;
  AheadShares<T> ahead(args.ahead.at, depth * vectors * kLanes<T>,
                       depth * max_index(1, blocks_of(rows, kBlockRows[vectors])));
  for_blocks(rows, kBlockRows[vectors], [&](Index first, Index count) {
    args.ahead = ahead.take(depth);
    args.a = a + first * args.lda;
    args.c = c + first * args.ldc;
    kBlocks<P, false>.fn[vectors - 1][count - 1](args);
  });
}

// The part [begin, end) of n items that thread i of `threads` works on.
struct Range {
  Index begin, end;
};
RNNFAST_INLINE Range share(Index n, int thread, int threads) {
  return {n * thread / threads, n * (thread + 1) / threads};
}

}  // namespace RNNFAST_ISA_NAMESPACE
