#pragma once
// One SIMD vector of reals, written once with the compilers' vector extension. Each kernel file is
// compiled per instruction set with its own width and namespace; nothing here may leave it, so there
// are no standard headers and every function is inlined.

#include "core/macros.h"

#define RNNFAST_NAMESPACE_2(isa) rnnfast::isa
#define RNNFAST_NAMESPACE_1(isa) RNNFAST_NAMESPACE_2(isa)
#define RNNFAST_ISA_NAMESPACE RNNFAST_NAMESPACE_1(RNNFAST_ISA)

namespace RNNFAST_ISA_NAMESPACE {

using Index = long;

template <class T>
struct IntOf;
template <>
struct IntOf<float> {
  using type = int;
};
template <>
struct IntOf<double> {
  using type = long;
};

template <class T>
inline constexpr int kLanes = RNNFAST_VECTOR_BYTES / sizeof(T);

template <class T>
struct Vec {
  using Int = typename IntOf<T>::type;
  typedef T Raw __attribute__((vector_size(RNNFAST_VECTOR_BYTES)));
  typedef T Unaligned __attribute__((vector_size(RNNFAST_VECTOR_BYTES), aligned(sizeof(T))));
  typedef Int RawInt __attribute__((vector_size(RNNFAST_VECTOR_BYTES)));

  Raw v;

  Vec() = default;
  RNNFAST_INLINE Vec(Raw raw) : v(raw) {}
  RNNFAST_INLINE explicit Vec(T x) : v(x - Raw{}) {}
  RNNFAST_INLINE explicit Vec(int x) : v(T(x) - Raw{}) {}

  static RNNFAST_INLINE Vec load(const T* p) {
    return Raw(*reinterpret_cast<const Unaligned*>(p));
  }
  RNNFAST_INLINE void store(T* p) const { *reinterpret_cast<Unaligned*>(p) = v; }

  // The first n lanes; the others are 0. Memory past them is not touched.
  static RNNFAST_INLINE Vec load(const T* p, int n) {
    if (n >= kLanes<T>) return load(p);
    Raw r{};
    for (int i = 0; i < n; ++i) r[i] = p[i];
    return r;
  }
  RNNFAST_INLINE void store(T* p, int n) const {
    if (n >= kLanes<T>) return store(p);
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
};

template <class T>
RNNFAST_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return a.v + b.v;
}
template <class T>
RNNFAST_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return a.v - b.v;
}
template <class T>
RNNFAST_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return a.v * b.v;
}
template <class T>
RNNFAST_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return a.v / b.v;
}

}  // namespace RNNFAST_ISA_NAMESPACE
