#pragma once
// float and double. Compile with -ffp-contract=off: mul and add are two roundings unless nvcc wrote
// fma.

#include <cfenv>
#include <cmath>
#include <limits>

#include "ptx/values.h"

namespace emulator::ptx {

// As the hardware has it, every NaN that float arithmetic makes has the same bits.
inline f32 canonical(f32 value) { return value == value ? value : std::bit_cast<f32>(0x7fffffffu); }
inline f64 canonical(f64 value) { return value; }

// Keeps the compiler from computing before or after the rounding mode is changed.
template <class T>
inline T opaque(T value) {
  asm volatile("" : "+m"(value) : : "memory");
  return value;
}

template <Rounding mode, class F, class... T>
inline auto rounded(F function, T... values) {
  if constexpr (mode == rn) {
    return function(values...);
  } else {
    const int before = std::fegetround();
    std::fesetround(mode == rz ? FE_TOWARDZERO : mode == rm ? FE_DOWNWARD : FE_UPWARD);
    const auto result = opaque(function(opaque(values)...));
    std::fesetround(before);
    return result;
  }
}

template <Rounding mode = rn, Real T>
inline T add(T a, T b) {
  return canonical(rounded<mode>([](T x, T y) { return x + y; }, a, b));
}
template <Rounding mode = rn, Real T>
inline T sub(T a, T b) {
  return canonical(rounded<mode>([](T x, T y) { return x - y; }, a, b));
}
template <Rounding mode = rn, Real T>
inline T mul(T a, T b) {
  return canonical(rounded<mode>([](T x, T y) { return x * y; }, a, b));
}
template <Rounding mode = rn, Real T>
inline T divide(T a, T b) {
  return canonical(rounded<mode>([](T x, T y) { return x / y; }, a, b));
}
template <Rounding mode = rn, Real T>
inline T fma(T a, T b, T c) {
  return canonical(rounded<mode>([](T x, T y, T z) { return std::fma(x, y, z); }, a, b, c));
}
template <Rounding mode = rn, Real T>
inline T square_root(T a) {
  return canonical(rounded<mode>([](T x) { return std::sqrt(x); }, a));
}

template <Real T>
inline T neg(T a) {
  return -a;
}
template <Real T>
inline T abs(T a) {
  return std::fabs(a);
}

// A NaN loses against a number; -0 is less than +0.
template <Real T>
inline T min(T a, T b) {
  if (a != a) return canonical(b);
  return b != b || a < b || (a == b && std::signbit(a)) ? a : b;
}
template <Real T>
inline T max(T a, T b) {
  if (a != a) return canonical(b);
  return b != b || a > b || (a == b && !std::signbit(a)) ? a : b;
}
inline f32 min_nan(f32 a, f32 b) { return a != a || b != b ? canonical(a + b) : min(a, b); }
inline f32 max_nan(f32 a, f32 b) { return a != a || b != b ? canonical(a + b) : max(a, b); }

template <Real T>
inline T flush(T value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(T(0), value) : value;
}
template <Real T>
inline T saturated(T value) {
  return value > 0 ? std::fmin(value, T(1)) : T(0);  // a NaN gives 0
}
template <Real T>
inline T rectified(T value) {
  return value != value ? canonical(value) : value > 0 ? value : T(0);
}

namespace test {
inline bool finite(Real auto a) { return std::isfinite(a); }
inline bool infinite(Real auto a) { return std::isinf(a); }
inline bool number(Real auto a) { return a == a; }
inline bool notanumber(Real auto a) { return a != a; }
inline bool normal(Real auto a) { return std::isnormal(a); }
inline bool subnormal(Real auto a) { return std::fpclassify(a) == FP_SUBNORMAL; }
}  // namespace test

namespace compare {
// Ordered: false if one is a NaN. hi, hs, lo, ls are those of unsigned integers.
inline bool eq(auto a, auto b) { return a == b; }
inline bool lt(auto a, auto b) { return a < b; }
inline bool le(auto a, auto b) { return a <= b; }
inline bool gt(auto a, auto b) { return a > b; }
inline bool ge(auto a, auto b) { return a >= b; }
inline bool ne(auto a, auto b) { return a < b || a > b; }
inline bool lo(auto a, auto b) { return a < b; }
inline bool ls(auto a, auto b) { return a <= b; }
inline bool hi(auto a, auto b) { return a > b; }
inline bool hs(auto a, auto b) { return a >= b; }
inline bool num(auto a, auto b) { return a == a && b == b; }
inline bool nan(auto a, auto b) { return !num(a, b); }
inline bool equ(auto a, auto b) { return !ne(a, b); }
inline bool neu(auto a, auto b) { return !eq(a, b); }
inline bool ltu(auto a, auto b) { return !ge(a, b); }
inline bool leu(auto a, auto b) { return !gt(a, b); }
inline bool gtu(auto a, auto b) { return !le(a, b); }
inline bool geu(auto a, auto b) { return !lt(a, b); }
}  // namespace compare

// ---- approximations, as wrong as the PTX manual allows: results are rounded to that many bits of
// the mantissa, or that many after the point. ex2 gets one bit more: CUDA makes expf with it and
// promises 2 ulps for that.

template <int bits>
inline f32 approximately(f64 value) {
  constexpr b64 half = b64(1) << (51 - bits);
  if (!std::isfinite(value)) return canonical(static_cast<f32>(value));
  const b64 word = (std::bit_cast<b64>(value) + half) & ~(2 * half - 1);
  return static_cast<f32>(std::bit_cast<f64>(word));
}
inline f64 approximately64(f64 value) {  // the upper word of the exact result
  return std::bit_cast<f64>(std::bit_cast<b64>(value) & 0xffffffff00000000u);
}
inline f32 fixed_point(f64 value, int bits) {
  return canonical(static_cast<f32>(std::ldexp(std::nearbyint(std::ldexp(value, bits)), -bits)));
}

inline f32 reciprocal_approximately(f32 a) { return approximately<22>(f64(1) / a); }
inline f32 divide_full(f32 a, f32 b) { return approximately<21>(f64(a) / b); }
// Beyond 2^126 the divisor's reciprocal is lost.
inline f32 divide_approximately(f32 a, f32 b) {
  const f32 size = std::fabs(b);
  if (size > 0x1p126f && std::isfinite(size))
    return std::isfinite(a) ? std::copysign(0.0f, a) * std::copysign(1.0f, b) : canonical(NAN);
  return divide_full(a, b);
}
inline f32 sine_approximately(f32 a) { return fixed_point(std::sin(f64(a)), 20); }
inline f32 cosine_approximately(f32 a) { return fixed_point(std::cos(f64(a)), 20); }
inline f32 log2_approximately(f32 a) {
  const f64 exact = std::log2(f64(a));
  return a > 0.5f && a < 2 ? fixed_point(exact, 21) : approximately<21>(exact);
}

}  // namespace emulator::ptx
