#pragma once
// Moves matrices between row-major arrays and the panels that gemm.h multiplies.

#include "cpu/gemm.h"

namespace RNNFAST_ISA_NAMESPACE {

// One exchange of Eklundh's transposition: swaps the off-diagonal blocks of `kBlock` lanes.
template <int kBlock, class Raw, int... kLane>
RNNFAST_INLINE void exchange(Raw& a, Raw& b, Sequence<kLane...>) {
  constexpr int n = sizeof...(kLane);
  const Raw low = __builtin_shufflevector(a, b, ((kLane & kBlock) ? n + kLane - kBlock : kLane)...);
  b = __builtin_shufflevector(a, b, ((kLane & kBlock) ? n + kLane : kLane + kBlock)...);
  a = low;
}

template <class T, int kBlock>
RNNFAST_INLINE void transpose_stage(typename Vec<T>::Raw (&rows)[kLanes<T>]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i)
    if (!(i & kBlock))
      exchange<kBlock>(rows[i], rows[i + kBlock], typename MakeSequence<kLanes<T>>::type{});
  if constexpr (kBlock > 1) transpose_stage<T, kBlock / 2>(rows);
}

// Returns W steps of the values of a row; of the first n values if n is given.
template <class P, class... Count>
RNNFAST_INLINE Vec<RealOf<P>> load_steps(const RealOf<P>* from, Count... n) {
  using V = Vec<RealOf<P>>;
  constexpr int W = kLanes<RealOf<P>>;
  V vectors[Format<P>::kStep];
#pragma GCC unroll 2
  for (int i = 0; i < Format<P>::kStep; ++i)
    vectors[i] = V::load(from + i * W, int(max_index(0, n - i * W))...);
  return Format<P>::steps_of(vectors);
}

// Copies step k (the format's `kStep` values) of row j < lanes to lane j of to[k]; the other lanes
// get 0.
template <class P>
void transpose_in(const RealOf<P>* from, Index from_stride, int lanes, Index depth, RealOf<P>* to,
                  Index to_stride) {
  using T = RealOf<P>;
  using F = Format<P>;
  constexpr int W = kLanes<T>;
  Index k = 0;
  for (; (k + W) * F::kStep <= depth; k += W) {
    typename Vec<T>::Raw rows[W];
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j)
      rows[j] = j < lanes ? load_steps<P>(from + j * from_stride + k * F::kStep).v
                          : typename Vec<T>::Raw{};
    transpose_stage<T, W / 2>(rows);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) Vec<T>(rows[j]).store(to + (k + j) * to_stride);
  }
  for (; k < F::steps(depth); ++k)
    for (int j = 0; j < W; ++j) {
      const Index at = k * F::kStep;
      to[k * to_stride + j] = j < lanes ? F::step(from + j * from_stride + at, depth - at) : T(0);
    }
}

// The inverse: to[j][k] = from[k][j] or, if `add`, += from[k][j], for j < lanes.
template <class T>
void transpose_out(const T* from, Index from_stride, int lanes, Index depth, T* to, Index to_stride,
                   bool add) {
  constexpr int W = kLanes<T>;
  Index k = 0;
  for (; k + W <= depth; k += W) {
    typename Vec<T>::Raw rows[W];
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) rows[j] = Vec<T>::load(from + (k + j) * from_stride).v;
    transpose_stage<T, W / 2>(rows);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) {
      if (j >= lanes) continue;
      T* row = to + j * to_stride + k;
      if (add) rows[j] += Vec<T>::load(row).v;
      Vec<T>(rows[j]).store(row);
    }
  }
  for (; k < depth; ++k)
    for (int j = 0; j < lanes; ++j) {
      T& value = to[j * to_stride + k];
      const T sum = from[k * from_stride + j];
      value = add ? value + sum : sum;
    }
}

// Copies rows of `columns` values to rows of whole vectors of steps, padded with zeros; null stands
// for zeros.
template <class P>
RNNFAST_INLINE void pad_rows(const RealOf<P>* from, Index from_stride, Index rows, Index columns,
                             RealOf<P>* to, Index to_stride) {
  using T = RealOf<P>;
  using F = Format<P>;
  constexpr int W = kLanes<T>;
  for (Index r = 0; r < rows; r += F::kStep, to += to_stride)
    for (Index j = 0; j < to_stride; j += W) {
      const Index left = max_index(0, min_index(W, columns - j));
      Vec<T> step[F::kStep];
      for (int i = 0; i < F::kStep; ++i)
        step[i] = from && left && r + i < rows
                      ? Vec<T>::load(from + (r + i) * from_stride + j, int(left))
                      : Vec<T>(0);
      F::join(step).store(to + j);
    }
}

// Converts rows of `columns` values to the format's operands.
template <class P>
RNNFAST_INLINE void round_rows(const RealOf<P>* from, Index from_stride, Index rows, Index columns,
                               RealOf<P>* to, Index to_stride) {
  using F = Format<P>;
  constexpr int W = kLanes<RealOf<P>>;
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0; i < columns; i += W) {
      const int lanes = int(min_index(W, columns - i));
      F::store(Vec<RealOf<P>>::load(from + r * from_stride + i, lanes),
               to + r * to_stride + F::operand_lanes(i), lanes);
    }
}

// Packs columns [0, width) of `rows` rows as [row][width], from row `at` on: the left-hand side of
// a product that sums over rows.
template <class P, int kWidth>
RNNFAST_INLINE void pack_columns_fixed(const RealOf<P>* from, Index stride, Index rows,
                                       RealOf<P>* to, Index at) {
  for (Index r = 0; r < rows; ++r) {
    if constexpr (Format<P>::kRounds) {
#pragma GCC unroll 8
      for (int j = 0; j < kWidth; ++j) Format<P>::put(from[r * stride + j], to, at + r, j, kWidth);
    } else {
      __builtin_memcpy(to + (at + r) * kWidth, from + r * stride, kWidth * sizeof(*to));
    }
  }
}
template <class P>
void pack_columns(const RealOf<P>* from, Index stride, Index rows, int width, RealOf<P>* to,
                  Index at = 0) {
  switch (width) {
    case 8:
      return pack_columns_fixed<P, 8>(from, stride, rows, to, at);
    case 7:
      return pack_columns_fixed<P, 7>(from, stride, rows, to, at);
    case 6:
      return pack_columns_fixed<P, 6>(from, stride, rows, to, at);
    case 5:
      return pack_columns_fixed<P, 5>(from, stride, rows, to, at);
    case 4:
      return pack_columns_fixed<P, 4>(from, stride, rows, to, at);
    case 3:
      return pack_columns_fixed<P, 3>(from, stride, rows, to, at);
    default:
      for (Index r = 0; r < rows; ++r)
        for (int j = 0; j < width; ++j) Format<P>::put(from[r * stride + j], to, at + r, j, width);
  }
}
// Appends a row of zeros to an odd number of packed rows if a step has two.
template <class P>
RNNFAST_INLINE void pad_columns(Index rows, int width, RealOf<P>* to) {
  for (Index r = rows; r < Format<P>::steps(rows) * Format<P>::kStep; ++r)
    for (int j = 0; j < width; ++j) Format<P>::put(RealOf<P>(0), to, r, j, width);
}

}  // namespace RNNFAST_ISA_NAMESPACE
