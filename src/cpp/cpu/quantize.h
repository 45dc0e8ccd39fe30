#pragma once
// Quantises rows to 8-bit integers with a scale (int8.h), in the layouts that gemm.h multiplies.

#include "cpu/pack.h"

namespace RNNFAST_ISA_NAMESPACE {

// The scale of a row, and the factor by which its values become integers.
struct RowScale {
  float scale, inverse;

  // Compares the bits of absolute values, which order like the values, with NaN above infinity. A
  // row that contains one of these gets a scale that makes all its products NaN. The smallest rows
  // count as zeros, as the inverse of their scale would not be finite.
  RNNFAST_INLINE RowScale(const float* from, Index n) {
    using V = Vec<float>;
    V::RawInt most{};
    for (Index i = 0; i < n; i += kLanes<float>) {
      const int lanes = int(min_index(kLanes<float>, n - i));
      const V::RawInt bits = (V::RawInt)V::load(from + i, lanes).v & 0x7fffffff;
      most = bits > most ? bits : most;
    }
    int bits = 0;
    for (int i = 0; i < kLanes<float>; ++i) bits = most[i] > bits ? most[i] : bits;
    float largest;
    __builtin_memcpy(&largest, &bits, sizeof(largest));
    scale = largest / kLargestByte;
    inverse = largest >= 0x1p-100f ? kLargestByte / largest : 0;
  }
};

// Returns x * inverse as an integer in the lowest byte of each lane, rounded to nearest even: the
// sum leaves no bits for a fraction. The product must not be fused with it.
RNNFAST_INLINE Bits to_bytes(Vec<float> x, float inverse) {
  Vec<float>::Raw scaled = x.v * inverse;
  RNNFAST_KEEP(scaled);
  return (Bits)(scaled + 0x1.8p23f) & 0xffu;
}

// Lanes first, first + 2, ... of two vectors.
template <int kFirst, int... kLane>
RNNFAST_INLINE Bits every_other(Bits a, Bits b, Sequence<kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane + kFirst)...);
}

// Quantises n values, a multiple of four unless they end the row, to lanes of four bytes.
RNNFAST_INLINE void quantize(const float* from, Index n, float inverse, unsigned flip, float* to) {
  using V = Vec<float>;
  using Lanes = typename MakeSequence<kLanes<float>>::type;
  constexpr Index W = kLanes<float>;
  for (Index i = 0; i < n; i += 4 * W) {
    Bits q[4];
    for (int k = 0; k < 4; ++k) {
      const Index at = i + k * W, left = max_index(0, min_index(W, n - at));
      q[k] = to_bytes(left ? V::load(from + at, int(left)) : V(0), inverse);
    }
    const Bits even[2] = {every_other<0>(q[0], q[1], Lanes{}), every_other<0>(q[2], q[3], Lanes{})};
    const Bits odd[2] = {every_other<1>(q[0], q[1], Lanes{}), every_other<1>(q[2], q[3], Lanes{})};
    const Bits lanes = every_other<0>(even[0], even[1], Lanes{}) |
                       every_other<0>(odd[0], odd[1], Lanes{}) << 8 |
                       every_other<1>(even[0], even[1], Lanes{}) << 16 |
                       every_other<1>(odd[0], odd[1], Lanes{}) << 24;
    V((V::Raw)(lanes ^ flip)).store(to + i / 4, int(min_index(W, (n - i + 3) / 4)));
  }
}

// Converts rows of `columns` values to rows that products of the format read.
template <class P>
RNNFAST_INLINE void quantize_rows(const float* from, Index from_stride, Index rows, Index columns,
                                  float* to, Index to_stride) {
  for (Index r = 0; r < rows; ++r, from += from_stride, to += to_stride) {
    const RowScale row(from, columns);
    to[0] = row.scale;
    quantize(from, columns, row.inverse, Format<P>::kFlip, to + Format<P>::kRowHead);
  }
}

// Packs rows of a weight matrix as columns of a panel, one per lane; the other lanes get zeros.
template <class P>
void quantize_columns(const float* from, Index from_stride, int lanes, Index depth, float* to,
                      Index to_stride) {
  using F = Format<P>;
  using V = Vec<float>;
  constexpr Index W = kLanes<float>, kPiece = 64;  // steps quantised, then transposed
  float scale[W] = {}, inverse[W] = {}, piece[W * kPiece];
  for (int j = 0; j < lanes; ++j) {
    const RowScale row(from + j * from_stride, depth);
    scale[j] = row.scale, inverse[j] = row.inverse;
  }
  float* const steps = to + F::kColumnHead * to_stride;
  typename F::Sum sum{};
  for (Index k = 0; k < F::steps(depth); k += kPiece) {
    const Index count = min_index(kPiece, F::steps(depth) - k), at = k * F::kStep;
    for (int j = 0; j < lanes; ++j)
      quantize(from + j * from_stride + at, min_index(count * F::kStep, depth - at), inverse[j], 0,
               piece + j * kPiece);
    transpose_in<float>(piece, kPiece, lanes, count, steps + k * to_stride, to_stride);
    for (Index i = k; i < k + count; ++i)
      sum += F::sum_of_bytes((typename F::Sum)V::load(steps + i * to_stride).v);
  }
  V((V::Raw)(sum * -128)).store(to);
  V::load(scale).store(to + to_stride);
}

// Packs rows of a weight matrix as columns of a panel, in any format.
template <class P>
RNNFAST_INLINE void fill_columns(const RealOf<P>* from, Index from_stride, int lanes, Index depth,
                                 RealOf<P>* to, Index to_stride) {
  if constexpr (Format<P>::kQuantizes)
    quantize_columns<P>(from, from_stride, lanes, depth, to, to_stride);
  else
    transpose_in<P>(from, from_stride, lanes, depth, to, to_stride);
}

// Converts rows of numbers to rows that products of the format read, unless it reads them in place.
template <class P>
RNNFAST_INLINE void convert_rows(const RealOf<P>* from, Index from_stride, Index rows,
                                 Index columns, RealOf<P>* to, Index to_stride) {
  if constexpr (Format<P>::kQuantizes)
    quantize_rows<P>(from, from_stride, rows, columns, to, to_stride);
  else
    round_rows<P>(from, from_stride, rows, columns, to, to_stride);
}

}  // namespace RNNFAST_ISA_NAMESPACE
