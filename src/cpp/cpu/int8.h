#pragma once
// Products of 8-bit integers, for inference. A row of an operand and a row of a weight matrix each
// have a scale, their largest absolute value / 127, and integers q in [-127, 127] that stand for
// q * scale. Products of the integers are summed exactly in 32 bits; only then are they scaled and
// added to the bias, in float.
//
// A step of the depth is four integers, packed into one lane, the first in the lowest byte. There
// are two kernels:
//   Int8Multiplied  multiplies absolute values by integers with the operand's signs, as the CPU's
//                   instructions for bytes take one factor unsigned; no sum of two can overflow
//   Int8Dot         uses the CPU's dot products of four: operands hold q + 128, which is unsigned,
//                   and sums start from -128 times the sum of the column's integers
// Both sums are exact, and what follows is the same in all instruction sets, so are the bits.
//
// A column of a panel has a head of two lanes: the initial sum, for Int8Dot, and the scale. An
// operand's row has a head of one lane, its scale.

#include "cpu/format.h"

namespace RNNFAST_ISA_NAMESPACE {

inline constexpr float kLargestByte = 127;

// What both kernels share. Operands wait as floats, as a row's scale depends on all of its values.
struct Int8Format : Format<float> {
  using Sum = Registers<float>::Int;
  static constexpr bool kTrains = false;
  static constexpr bool kQuantizes = true;
  static constexpr bool kPrefetches = false;  // the hardware's prefetchers are faster alone
  static constexpr int kStep = 4;
  static constexpr Index kColumnHead = 2, kRowHead = 1;

  static RNNFAST_INLINE constexpr Index steps(Index depth) { return (depth + 3) / 4; }
  static RNNFAST_INLINE constexpr Index row_lanes(Index depth) { return kRowHead + steps(depth); }

  // The sum is rounded to float, scaled and only then added: a fused sum would have other bits.
  static RNNFAST_INLINE V finish(Sum sum, const float* row, const float* column, Index ldb,
                                 V bias) {
    Raw product = __builtin_convertvector(sum, Raw) * (V::load(column + ldb).v * row[0]);
    RNNFAST_KEEP(product);
    return product + bias.v;
  }
  // As if the row had been quantised: its 1 is 127 times its scale.
  static RNNFAST_INLINE V one_hot(const float* column, Index ldb, Index index) {
    const Sum lanes = (Sum)V::load(column + (kColumnHead + index / kStep) * ldb).v;
    const float scale = 1 / kLargestByte;
    return finish(byte(lanes, int(index % kStep)) * int(kLargestByte), &scale, column, ldb, V(0));
  }

  // Byte k of each lane, and the sum of a lane's four.
  static RNNFAST_INLINE Sum byte(Sum lanes, int k) { return lanes << (24 - 8 * k) >> 24; }
  static RNNFAST_INLINE Sum sum_of_bytes(Sum lanes) {
    return byte(lanes, 0) + byte(lanes, 1) + byte(lanes, 2) + byte(lanes, 3);
  }
};

template <>
struct Format<Int8Multiplied> : Int8Format {
  static constexpr unsigned kFlip = 0;  // what an operand's bytes differ by from their integers

  static RNNFAST_INLINE Sum start(V, const float*) { return Sum{}; }
  static RNNFAST_INLINE Sum multiply_add(Sum sum, Raw row, Raw column) {
#if defined(RNNFAST_AVX512)
    const __m512i a = (__m512i)row, b = (__m512i)column;
    const __m512i signed_b =
        _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    const __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), signed_b);
    return sum + (Sum)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif RNNFAST_VECTOR_BYTES == 32
    const __m256i a = (__m256i)row, b = (__m256i)column;
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return sum + (Sum)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif RNNFAST_VECTOR_BYTES == 16 && defined(__x86_64__)
    const __m128i a = (__m128i)row, b = (__m128i)column;
    const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8(a), _mm_sign_epi8(b, a));
    return sum + (Sum)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
#else
    const Sum a = (Sum)row, b = (Sum)column;
    for (int k = 0; k < kStep; ++k) sum += byte(a, k) * byte(b, k);
    return sum;
#endif
  }
};

template <>
struct Format<Int8Dot> : Int8Format {
  static constexpr unsigned kFlip = 0x80808080u;

  static RNNFAST_INLINE Sum start(V, const float* column) { return (Sum)V::load(column).v; }
  static RNNFAST_INLINE Sum multiply_add(Sum sum, Raw row, Raw column) {
#if defined(RNNFAST_AVX512) && defined(__AVX512VNNI__)
    return (Sum)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)row, (__m512i)column);
#elif RNNFAST_VECTOR_BYTES == 32 && defined(__AVXVNNI__)
    return (Sum)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)row, (__m256i)column);
#else  // portable512; the other sets have no kernels of this format without the instruction
    for (int k = 0; k < kStep; ++k) sum += ((Sum)row >> 8 * k & 0xff) * byte((Sum)column, k);
    return sum;
#endif
  }
};

}  // namespace RNNFAST_ISA_NAMESPACE
