#pragma once
// The formats of the factors in a network's products: values of a real type as they are, values
// rounded to bfloat16 and summed in float, or 8-bit integers (int8.h). A format defines what a lane
// of a panel and of an operand's row holds.
//
// The depth of a product counts steps. In bfloat16 a step is two values, packed into one lane of 32
// bits, the first in the lower half; an odd depth ends with a zero. There are two kernels:
//   Bf16Converted  widens the panels' halves to floats: operands are rows of rounded floats
//   Bf16Dot        multiplies pairs with the CPU's dot products: operands are rows of pairs
// Lanes of pairs have the type float, as memory and shuffles see no difference.

#include "cpu/kernel_table.h"
#include "cpu/vec.h"

namespace RNNFAST_ISA_NAMESPACE {

// Keeps a value in a register: GCC would otherwise fold its load into every multiply-add, or fuse
// a product with the sum that uses it.
#if RNNFAST_VECTOR_BYTES == 64 && !defined(RNNFAST_AVX512)
#define RNNFAST_KEEP(value) asm("" : "+m"(value))  // no register is as wide
#elif defined(__x86_64__)
#define RNNFAST_KEEP(value) asm("" : "+v"(value))
#else
#define RNNFAST_KEEP(value) asm("" : "+w"(value))
#endif

template <class T>
RNNFAST_INLINE typename Vec<T>::Raw broadcast(T x) {
  return x - typename Vec<T>::Raw{};
}

// What formats with floating-point sums share: a sum starts from the bias.
template <class T>
struct RealSums {
  using Real = T;
  using V = Vec<T>;
  using Raw = typename V::Raw;
  using Sum = Raw;
  static constexpr bool kTrains = true;      // whether backward exists
  static constexpr bool kQuantizes = false;  // whether operands are converted a row at a time
  static constexpr bool kPrefetches = true;  // whether products prefetch the next panel
  static constexpr Index kColumnHead = 0;    // lanes before the steps of a panel's column,
  static constexpr Index kRowHead = 0;       // and of an operand's row

  // The initial sum of some columns, whose panel lies at `column` with row stride ldb; and the
  // product of a row with them that a sum stands for.
  static RNNFAST_INLINE Sum start(V bias, const T*) { return bias.v; }
  static RNNFAST_INLINE V finish(Sum sum, const T*, const T*, Index, V) { return sum; }

  static RNNFAST_INLINE Raw multiply_add(Raw sum, Raw row, Raw column) {
    return RNNFAST_ISA_NAMESPACE::multiply_add<T>(sum, row, column).v;
  }
};

// A real type: nothing is rounded, so operands may be read in place.
template <class P>
struct Format : RealSums<P> {
  using typename RealSums<P>::V;
  using typename RealSums<P>::Raw;
  static constexpr bool kRounds = false;
  static constexpr int kStep = 1;   // values per step
  static constexpr int kParts = 1;  // lanes of an operand per step

  static RNNFAST_INLINE constexpr Index steps(Index depth) { return depth; }
  static RNNFAST_INLINE constexpr Index operand_lanes(Index depth) { return depth; }
  static RNNFAST_INLINE constexpr Index row_lanes(Index depth) { return depth; }

  // The column of a panel that part `part` of a step multiplies.
  static RNNFAST_INLINE Raw column(Raw panel, int) { return panel; }

  // Panels: makes one step of `left` values of a row, W steps of adjacent vectors of a row, or one
  // step of adjacent rows; returns their values, and the product of some columns with a one-hot
  // row.
  static RNNFAST_INLINE P step(const P* from, Index) { return *from; }
  static RNNFAST_INLINE V steps_of(const V (&vectors)[kStep]) { return vectors[0]; }
  static RNNFAST_INLINE V join(const V (&rows)[kStep]) { return rows[0]; }
  static RNNFAST_INLINE V value(V steps, Index) { return steps; }
  static RNNFAST_INLINE V one_hot(const P* column, Index ldb, Index index) {
    return V::load(column + index * ldb);
  }

  // Operands: stores the first n values of a vector, loads a vector, and returns value i of a row.
  static RNNFAST_INLINE void store(V x, P* to, int n = kLanes<P>) { x.store(to, n); }
  static RNNFAST_INLINE V load(const P* from) { return V::load(from); }
  static RNNFAST_INLINE P at(const P* row, Index i) { return row[i]; }

  // Stores one value of rows packed side by side, [step of the rows][part][width].
  static RNNFAST_INLINE void put(P x, P* to, Index row, Index column, Index width) {
    to[row * width + column] = x;
  }
};

template <class P>
using RealOf = typename Format<P>::Real;

template <class P>
using RawOf = typename Vec<RealOf<P>>::Raw;

template <class P>
using SumOf = typename Format<P>::Sum;

typedef unsigned Bits RNNFAST_VECTOR();

// Rounds to bfloat16, to nearest even; NaN stays NaN. Returns the bits of a float whose lower half
// is 0.
RNNFAST_INLINE Bits round_bf16(Vec<float> x) {
  const Bits bits = (Bits)x.v;
  const Bits rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return ((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : rounded) & 0xffff0000u;
}
RNNFAST_INLINE unsigned round_bf16(float x) {
  unsigned bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return (is_nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
}

// The panels, which both bfloat16 kernels share.
struct Bf16Panels : RealSums<float> {
  static constexpr bool kRounds = true;
  static constexpr int kStep = 2;

  static RNNFAST_INLINE constexpr Index steps(Index depth) { return (depth + 1) / 2; }

  static RNNFAST_INLINE float pair(unsigned first, unsigned second) {
    const unsigned bits = first >> 16 | second;
    float lane;
    __builtin_memcpy(&lane, &bits, sizeof(lane));
    return lane;
  }
  static RNNFAST_INLINE float step(const float* from, Index left) {
    return pair(round_bf16(from[0]), left > 1 ? round_bf16(from[1]) : 0u);
  }
  static RNNFAST_INLINE V steps_of(const V (&vectors)[kStep]) {
    return join_split(vectors[0].v, vectors[1].v, typename MakeSequence<kLanes<float>>::type{});
  }
  static RNNFAST_INLINE V join(const V (&rows)[kStep]) {
    return (Raw)(round_bf16(rows[0]) >> 16 | round_bf16(rows[1]));
  }
  // The values at `depth`, given the steps that contain them.
  static RNNFAST_INLINE V value(V steps, Index depth) { return half(steps.v, depth & 1); }
  static RNNFAST_INLINE V one_hot(const float* column, Index ldb, Index index) {
    return value(V::load(column + index / kStep * ldb), index);
  }

 protected:
  static RNNFAST_INLINE Raw half(Raw pairs, bool second) {
    return (Raw)(second ? (Bits)pairs & 0xffff0000u : (Bits)pairs << 16);
  }

 private:
  template <int... kLane>
  static RNNFAST_INLINE V join_split(Raw a, Raw b, Sequence<kLane...>) {
    const V rows[2] = {__builtin_shufflevector(a, b, 2 * kLane...),
                       __builtin_shufflevector(a, b, (2 * kLane + 1)...)};
    return join(rows);
  }
};

template <>
struct Format<Bf16Converted> : Bf16Panels {
  static constexpr int kParts = 2;

  static RNNFAST_INLINE constexpr Index operand_lanes(Index depth) { return 2 * steps(depth); }
  static RNNFAST_INLINE constexpr Index row_lanes(Index depth) { return operand_lanes(depth); }
  static RNNFAST_INLINE Raw column(Raw panel, int part) { return half(panel, part); }
  static RNNFAST_INLINE void store(V x, float* to, int n = kLanes<float>) {
    V((Raw)round_bf16(x)).store(to, n);
    if (n & 1) to[n] = 0;
  }
  static RNNFAST_INLINE V load(const float* from) { return V::load(from); }
  static RNNFAST_INLINE float at(const float* row, Index i) { return row[i]; }
  static RNNFAST_INLINE void put(float x, float* to, Index row, Index column, Index width) {
    const unsigned bits = round_bf16(x);
    __builtin_memcpy(to + row * width + column, &bits, sizeof(bits));
  }
};

// What the forms of dot products share: an operand's row of pairs.
struct Bf16Pairs : Bf16Panels {
  static constexpr int kParts = 1;

  static RNNFAST_INLINE constexpr Index operand_lanes(Index depth) { return steps(depth); }
  static RNNFAST_INLINE constexpr Index row_lanes(Index depth) { return operand_lanes(depth); }
  static RNNFAST_INLINE Raw column(Raw panel, int) { return panel; }
  static RNNFAST_INLINE float at(const float* row, Index i) {
    unsigned lane;
    __builtin_memcpy(&lane, row + i / 2, sizeof(lane));
    lane = i & 1 ? lane & 0xffff0000u : lane << 16;
    float value;
    __builtin_memcpy(&value, &lane, sizeof(value));
    return value;
  }

 protected:
  // Stores value `row` of a column of rows packed side by side.
  static RNNFAST_INLINE void put_half(unsigned short half, float* to, Index row, Index column,
                                      Index width) {
    char* lane = reinterpret_cast<char*>(to + row / 2 * width + column);
    __builtin_memcpy(lane + 2 * (row & 1), &half, sizeof(half));
  }
};

#if defined(__AVX512BF16__)
// The CPU's conversions round as round_bf16 does, but take subnormal numbers for zeros, as its dot
// products do.
template <>
struct Format<Bf16Dot> : Bf16Pairs {
  typedef unsigned short Halves __attribute__((vector_size(64)));

  static RNNFAST_INLINE float step(const float* from, Index left) {
    const __m128 values = _mm_setr_ps(from[0], left > 1 ? from[1] : 0.f, 0.f, 0.f);
    return _mm_cvtss_f32((__m128)_mm_cvtneps_pbh(values));
  }
  static RNNFAST_INLINE V steps_of(const V (&vectors)[kStep]) {
    return (Raw)_mm512_cvtne2ps_pbh(vectors[1].v, vectors[0].v);
  }
  static RNNFAST_INLINE V join(const V (&rows)[kStep]) {
    return interleave((Halves)steps_of(rows).v);
  }

  static RNNFAST_INLINE Raw multiply_add(Raw sum, Raw row, Raw column) {
    return _mm512_dpbf16_ps(sum, (__m512bh)row, (__m512bh)column);
  }
  static RNNFAST_INLINE void store(V x, float* to, int n = kLanes<float>) {
    const __mmask16 lanes = __mmask16((1u << n) - 1), stored = __mmask16(lanes | (n & 1) << n);
    _mm256_mask_storeu_epi16(to, stored, (__m256i)_mm512_maskz_cvtneps_pbh(lanes, x.v));
  }
  static RNNFAST_INLINE V load(const float* from) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return (Raw)((Bits)_mm512_maskz_cvtepu16_epi32(__mmask16(-1), halves) << 16);
  }
  static RNNFAST_INLINE void put(float x, float* to, Index row, Index column, Index width) {
    const __m128i half = (__m128i)_mm_cvtneps_pbh(_mm_set_ss(x));
    put_half((unsigned short)_mm_cvtsi128_si32(half), to, row, column, width);
  }

 private:
  // Moves value i of the lower half next to value i of the upper half.
  static RNNFAST_INLINE V interleave(Halves h) {
    return (Raw)__builtin_shufflevector(h, h, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                        23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                        15, 31);
  }
};
#elif RNNFAST_VECTOR_BYTES == 64
// The same layout without the instructions, for portable512. It keeps subnormal numbers, which the
// CPU's dot products take for zeros.
template <>
struct Format<Bf16Dot> : Bf16Pairs {
  typedef unsigned short Halves __attribute__((vector_size(32)));
  typedef unsigned short Unaligned __attribute__((vector_size(32), aligned(2)));

  static RNNFAST_INLINE Raw multiply_add(Raw sum, Raw row, Raw column) {
    sum = sum + half(row, true) * half(column, true);
    return sum + half(row, false) * half(column, false);
  }
  static RNNFAST_INLINE void store(V x, float* to, int n = kLanes<float>) {
    const Halves halves = __builtin_convertvector(round_bf16(x) >> 16, Halves);
    for (int i = 0; i < n + (n & 1); ++i) put_half(i < n ? halves[i] : 0, to, i, 0, 1);
  }
  static RNNFAST_INLINE V load(const float* from) {
    const Halves halves = *reinterpret_cast<const Unaligned*>(from);
    return (Raw)(__builtin_convertvector(halves, Bits) << 16);
  }
  static RNNFAST_INLINE void put(float x, float* to, Index row, Index column, Index width) {
    put_half((unsigned short)(round_bf16(x) >> 16), to, row, column, width);
  }
};
#endif

}  // namespace RNNFAST_ISA_NAMESPACE
