#pragma once
// Moving matrices between row-major arrays and the panels that gemm.h multiplies.

#include "cpu/gemm.h"

namespace RNNFAST_ISA_NAMESPACE {

template <int... kIndex>
struct Sequence {};
template <int kCount, int... kIndex>
struct MakeSequence : MakeSequence<kCount - 1, kCount - 1, kIndex...> {};
template <int... kIndex>
struct MakeSequence<0, kIndex...> {
  using type = Sequence<kIndex...>;
};

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

// to[k][j] = from[j][k] for j < lanes, 0 for the other lanes of a vector.
template <class T>
void transpose_in(const T* from, Index from_stride, int lanes, Index depth, T* to,
                  Index to_stride) {
  constexpr int W = kLanes<T>;
  Index k = 0;
  for (; k + W <= depth; k += W) {
    typename Vec<T>::Raw rows[W];
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j)
      rows[j] = j < lanes ? Vec<T>::load(from + j * from_stride + k).v : typename Vec<T>::Raw{};
    transpose_stage<T, W / 2>(rows);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) Vec<T>(rows[j]).store(to + (k + j) * to_stride);
  }
  for (; k < depth; ++k)
    for (int j = 0; j < W; ++j)
      to[k * to_stride + j] = j < lanes ? from[j * from_stride + k] : T(0);
}

// to[j][k] = from[k][j], or the sum of both if `add`, for j < lanes: the way back.
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

// `rows` rows of `columns` values into rows of whole vectors, zeros beyond; null gives zeros.
template <class T>
RNNFAST_INLINE void pad_rows(const T* from, Index from_stride, Index rows, Index columns, T* to,
                             Index to_stride) {
  constexpr int W = kLanes<T>;
  for (Index r = 0; r < rows; ++r)
    for (Index j = 0; j < to_stride; j += W) {
      const Index left = max_index(0, min_index(W, columns - j));
      const Vec<T> v =
          from && left ? Vec<T>::load(from + r * from_stride + j, int(left)) : Vec<T>(0);
      v.store(to + r * to_stride + j);
    }
}

// Columns [0, width) of `rows` rows, packed [row][width]: the A side of a product over rows.
template <int kWidth, class T>
RNNFAST_INLINE void pack_columns_fixed(const T* from, Index stride, Index rows, T* to) {
  for (Index r = 0; r < rows; ++r)
    __builtin_memcpy(to + r * kWidth, from + r * stride, kWidth * sizeof(T));
}
template <class T>
void pack_columns(const T* from, Index stride, Index rows, int width, T* to) {
  switch (width) {
    case 8:
      return pack_columns_fixed<8>(from, stride, rows, to);
    case 7:
      return pack_columns_fixed<7>(from, stride, rows, to);
    case 6:
      return pack_columns_fixed<6>(from, stride, rows, to);
    case 5:
      return pack_columns_fixed<5>(from, stride, rows, to);
    case 4:
      return pack_columns_fixed<4>(from, stride, rows, to);
    case 3:
      return pack_columns_fixed<3>(from, stride, rows, to);
    default:
      for (Index r = 0; r < rows; ++r)
        for (int j = 0; j < width; ++j) to[r * width + j] = from[r * stride + j];
  }
}

}  // namespace RNNFAST_ISA_NAMESPACE
