#pragma once
// One SIMD vector of reals, written once with the compilers' vector extension. Each kernel file is
// compiled per instruction set with its own width and namespace; no code of one set may end up in
// another, so this file includes no standard headers and every function is inlined.

#include "core/index.h"
#include "core/macros.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// AVX-512 itself. Vectors as wide without it are those of portable512, the set for tests: the
// compiler composes each of narrower ones.
#if RNNFAST_VECTOR_BYTES == 64 && defined(__AVX512F__)
#define RNNFAST_AVX512
#endif

#define RNNFAST_NAMESPACE_2(isa) rnnfast::isa
#define RNNFAST_NAMESPACE_1(isa) RNNFAST_NAMESPACE_2(isa)
#define RNNFAST_ISA_NAMESPACE RNNFAST_NAMESPACE_1(RNNFAST_ISA)

namespace RNNFAST_ISA_NAMESPACE {

#define RNNFAST_VECTOR(...) __attribute__((vector_size(RNNFAST_VECTOR_BYTES), ##__VA_ARGS__))

// The compiler's vector types, written out for each type because the attribute does not accept a
// template parameter.
template <class T>
struct Registers;
template <>
struct Registers<float> {
  typedef float Raw RNNFAST_VECTOR();
  typedef float Unaligned RNNFAST_VECTOR(aligned(4));
  typedef int Int RNNFAST_VECTOR();
};
template <>
struct Registers<double> {
  typedef double Raw RNNFAST_VECTOR();
  typedef double Unaligned RNNFAST_VECTOR(aligned(8));
  typedef Index Int RNNFAST_VECTOR();
};

// Lane numbers for shuffles.
template <int... kIndex>
struct Sequence {};
template <int kCount, int... kIndex>
struct MakeSequence : MakeSequence<kCount - 1, kCount - 1, kIndex...> {};
template <int... kIndex>
struct MakeSequence<0, kIndex...> {
  using type = Sequence<kIndex...>;
};

// A loop whose index is a constant in its body: for_each_index<3>([&]<int i>() { ... }).
template <class Body, int... kIndex>
RNNFAST_INLINE constexpr void for_each_index(const Body& body, Sequence<kIndex...>) {
  (body.template operator()<kIndex>(), ...);
}
template <int kCount, class Body>
RNNFAST_INLINE constexpr void for_each_index(const Body& body) {
  for_each_index(body, typename MakeSequence<kCount>::type{});
}

template <class T>
inline constexpr int kLanes = RNNFAST_VECTOR_BYTES / sizeof(T);

template <class T>
struct Vec {
  using Raw = typename Registers<T>::Raw;
  using Unaligned = typename Registers<T>::Unaligned;
  using RawInt = typename Registers<T>::Int;

  Raw v;

  Vec() = default;
  RNNFAST_INLINE Vec(Raw raw) : v(raw) {}
  RNNFAST_INLINE explicit Vec(T x) : v(x - Raw{}) {}
  RNNFAST_INLINE explicit Vec(int x) : v(T(x) - Raw{}) {}

  static RNNFAST_INLINE Vec load(const T* p) { return Raw(*reinterpret_cast<const Unaligned*>(p)); }
  RNNFAST_INLINE void store(T* p) const { *reinterpret_cast<Unaligned*>(p) = v; }

  static RNNFAST_INLINE RawInt lane_numbers() {
    RawInt lane;
    for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
    return lane;
  }

  // The first n lanes; the others are 0. Memory past them is not touched.
  static RNNFAST_INLINE Vec load(const T* p, int n) {
#if defined(RNNFAST_AVX512)
    if constexpr (kLanes<T> == 16)
      return _mm512_maskz_loadu_ps(first_lanes(n), p);
    else
      return _mm512_maskz_loadu_pd(first_lanes(n), p);
#else
    if (n >= kLanes<T>) return load(p);
#if RNNFAST_VECTOR_BYTES == 32
    const __m256i mask = (__m256i)(lane_numbers() < n);
    if constexpr (kLanes<T> == 8)
      return _mm256_maskload_ps(p, mask);
    else
      return _mm256_maskload_pd(p, mask);
#else
    Raw r{};
    for (int i = 0; i < n; ++i) r[i] = p[i];
    return r;
#endif
#endif
  }
  RNNFAST_INLINE void store(T* p, int n) const {
#if defined(RNNFAST_AVX512)
    if constexpr (kLanes<T> == 16)
      _mm512_mask_storeu_ps(p, first_lanes(n), v);
    else
      _mm512_mask_storeu_pd(p, first_lanes(n), v);
#else
    if (n >= kLanes<T>) return store(p);
    for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
  }

  // Streaming stores to aligned addresses bypass the caches; `end_stream` orders them before all
  // later stores.
  static RNNFAST_INLINE bool is_aligned(const T* p) {
    return reinterpret_cast<unsigned long long>(p) % sizeof(Raw) == 0;
  }
  RNNFAST_INLINE void stream(T* p) const {
#if defined(RNNFAST_AVX512)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif RNNFAST_VECTOR_BYTES == 32
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif RNNFAST_VECTOR_BYTES == 16 && defined(__x86_64__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
    store(p);
#endif
  }
  static RNNFAST_INLINE void end_stream() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
  }

#if defined(RNNFAST_AVX512)
 private:
  static RNNFAST_INLINE unsigned first_lanes(int n) {  // as a mask; n may exceed the lanes
    return (1u << (n < kLanes<T> ? n : kLanes<T>)) - 1;
  }
#endif
};

// sum + a * b, rounded once on CPUs that can. An expression would leave that to the compiler, which
// does not fuse a product that it moved to another block than its sum, as g++ does for partial
// vectors on AArch64.
template <class T>
RNNFAST_INLINE Vec<T> multiply_add(Vec<T> sum, Vec<T> a, Vec<T> b) {
#if defined(RNNFAST_AVX512)
  if constexpr (sizeof(T) == 4)
    return _mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)sum.v);
  else
    return _mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)sum.v);
#elif RNNFAST_VECTOR_BYTES == 32 && defined(__FMA__)
  if constexpr (sizeof(T) == 4)
    return _mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)sum.v);
  else
    return _mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)sum.v);
#elif RNNFAST_VECTOR_BYTES == 64 && defined(__FMA__)
  struct Halves {  // no instruction is as wide
    __m256 half[2];
  } x = __builtin_bit_cast(Halves, a.v);
  const auto y = __builtin_bit_cast(Halves, b.v), z = __builtin_bit_cast(Halves, sum.v);
  for (int i = 0; i < 2; ++i) {
    if constexpr (sizeof(T) == 4)
      x.half[i] = _mm256_fmadd_ps(x.half[i], y.half[i], z.half[i]);
    else
      x.half[i] =
          (__m256)_mm256_fmadd_pd((__m256d)x.half[i], (__m256d)y.half[i], (__m256d)z.half[i]);
  }
  return __builtin_bit_cast(typename Vec<T>::Raw, x);
#elif defined(__aarch64__)
  if constexpr (sizeof(T) == 4)
    return vfmaq_f32(sum.v, a.v, b.v);
  else
    return vfmaq_f64(sum.v, a.v, b.v);
#else
  return sum.v + a.v * b.v;
#endif
}

// A product with its factors: a sum fuses the product and rounds once. Of two products it fuses the
// second; which one it is would else depend on the order in which a compiler computes operands.
template <class T>
struct Fusible : Vec<T> {
  Vec<T> a, b;
  RNNFAST_INLINE Fusible(Vec<T> left, Vec<T> right) : Vec<T>(left.v * right.v), a(left), b(right) {}
};
template <class T>
RNNFAST_INLINE Fusible<T> operator*(Vec<T> a, Vec<T> b) {
  return {a, b};
}
template <class T>
RNNFAST_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return a.v / b.v;
}
template <class T>
RNNFAST_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return a.v + b.v;
}
template <class T>
RNNFAST_INLINE Vec<T> operator+(Vec<T> a, Fusible<T> b) {
  return multiply_add(a, b.a, b.b);
}
template <class T>
RNNFAST_INLINE Vec<T> operator+(Fusible<T> a, Vec<T> b) {
  return multiply_add(b, a.a, a.b);
}
template <class T>
RNNFAST_INLINE Vec<T> operator+(Fusible<T> a, Fusible<T> b) {
  return Vec<T>(a) + b;
}
template <class T>
RNNFAST_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return a.v - b.v;
}
template <class T>
RNNFAST_INLINE Vec<T> operator-(Vec<T> a, Fusible<T> b) {
  return multiply_add<T>(a, -b.a.v, b.b);
}
template <class T>
RNNFAST_INLINE Vec<T> operator-(Fusible<T> a, Vec<T> b) {
  return multiply_add<T>(-b.v, a.a, a.b);
}
template <class T>
RNNFAST_INLINE Vec<T> operator-(Fusible<T> a, Fusible<T> b) {
  return Vec<T>(a) - b;
}

}  // namespace RNNFAST_ISA_NAMESPACE
