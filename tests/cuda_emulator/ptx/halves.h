#pragma once
// f16, bf16 and pairs of them: computed in double, which holds every product, and rounded once.

#include "ptx/reals.h"

namespace emulator::ptx {

template <class T>
struct Format;
template <>
struct Format<f16> {
  static constexpr int digits = 11, least = -14, greatest = 15;
  static constexpr b16 nan = 0x7fff;
};
template <>
struct Format<bf16> {
  static constexpr int digits = 8, least = -126, greatest = 127;
  static constexpr b16 nan = 0x7fff;
};
template <>
struct Format<tf32> {
  static constexpr int digits = 11, least = -126, greatest = 127;
};

template <Rounding mode>
inline f64 integral(f64 value) {
  if constexpr (mode == rn || mode == rni) return std::nearbyint(value);
  if constexpr (mode == rz || mode == rzi) return std::trunc(value);
  if constexpr (mode == rm || mode == rmi) return std::floor(value);
  if constexpr (mode == rp || mode == rpi) return std::ceil(value);
  if constexpr (mode == rna) return std::round(value);
}

// The nearest value, in the sense of the mode, that the format has.
template <class T, Rounding mode>
inline f64 round_to(f64 value) {
  using F = Format<T>;
  if (value == 0 || !std::isfinite(value)) return value;
  const int unit = std::max(std::ilogb(value), F::least) - F::digits + 1;
  const f64 result = std::ldexp(integral<mode>(std::ldexp(value, -unit)), unit);
  const f64 limit = std::ldexp(2 - std::ldexp(1.0, 1 - F::digits), F::greatest);
  if (std::fabs(result) <= limit) return std::copysign(result, value);
  const bool stays = mode == rz || (mode == rm && value > 0) || (mode == rp && value < 0);
  return std::copysign(stays ? limit : HUGE_VAL, value);
}

inline f64 widen(bf16 value) { return std::bit_cast<f32>(b32(value.bits) << 16); }
inline f64 widen(f16 value) {
  const int exponent = value.bits >> 10 & 31, mantissa = value.bits & 1023;
  f64 size = std::ldexp(exponent ? 1024 + mantissa : mantissa, std::max(exponent, 1) - 25);
  if (exponent == 31) size = mantissa ? NAN : HUGE_VAL;
  return value.bits & 0x8000 ? -size : size;
}
inline f64 widen(Real auto value) { return value; }

template <Half T, Rounding mode = rn>
inline T narrow(f64 exact) {
  if (exact != exact) return {Format<T>::nan};
  const f64 value = round_to<T, mode>(exact);
  if constexpr (std::same_as<T, bf16>) {
    return {static_cast<b16>(std::bit_cast<b32>(static_cast<f32>(value)) >> 16)};
  } else {
    const b16 sign = std::signbit(value) ? 0x8000 : 0;
    const f64 size = std::fabs(value);
    if (std::isinf(size)) return {static_cast<b16>(sign | 0x7c00)};
    const int exponent = size < 0x1p-14 ? -14 : std::ilogb(size);
    // The leading bit of a normal number carries into the exponent, which is one less for that.
    const b16 mantissa = static_cast<b16>(std::ldexp(size, 10 - exponent));
    return {static_cast<b16>(sign | (b16((exponent + 14) << 10) + mantissa))};
  }
}

// The sum rounded so that a second rounding, to fewer digits, is as if it were the only one: where
// it is not exact, its last bit is set.
inline f64 odd_sum(f64 a, f64 b) {
  const f64 sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const f64 part = sum - a, error = (a - (sum - part)) + (b - part);
  if (error == 0 || std::bit_cast<b64>(sum) & 1) return sum;
  return std::nextafter(sum, error > 0 ? HUGE_VAL : -HUGE_VAL);
}

template <Half T>
inline T add(T a, T b) {
  return narrow<T>(odd_sum(widen(a), widen(b)));
}
template <Half T>
inline T sub(T a, T b) {
  return narrow<T>(odd_sum(widen(a), -widen(b)));
}
template <Half T>
inline T mul(T a, T b) {
  return narrow<T>(widen(a) * widen(b));
}
template <Half T>
inline T fma(T a, T b, T c) {
  return narrow<T>(odd_sum(widen(a) * widen(b), widen(c)));
}
template <Half T>
inline T neg(T a) {
  return {static_cast<b16>(a.bits ^ 0x8000)};
}
template <Half T>
inline T abs(T a) {
  return {static_cast<b16>(a.bits & 0x7fff)};
}
template <Half T>
inline T min(T a, T b) {
  return narrow<T>(min(widen(a), widen(b)));
}
template <Half T>
inline T max(T a, T b) {
  return narrow<T>(max(widen(a), widen(b)));
}
template <Half T>
inline bool has_nan(T a, T b) {
  return compare::nan(widen(a), widen(b));
}
template <Half T>
inline T min_nan(T a, T b) {
  return has_nan(a, b) ? T{Format<T>::nan} : min(a, b);
}
template <Half T>
inline T max_nan(T a, T b) {
  return has_nan(a, b) ? T{Format<T>::nan} : max(a, b);
}
template <Half T>
inline T tanh(T a) {
  return narrow<T>(std::tanh(widen(a)));
}
template <Half T>
inline T exp2(T a) {
  return narrow<T>(std::exp2(widen(a)));
}
template <Half T>
inline T flush(T a) {
  return std::fabs(widen(a)) < std::ldexp(1.0, Format<T>::least) ? T{b16(a.bits & 0x8000)} : a;
}
template <Half T>
inline T saturated(T a) {
  return narrow<T>(saturated(widen(a)));
}
template <Half T>
inline T rectified(T a) {
  return narrow<T>(rectified(widen(a)));
}

inline auto operator<=>(Half auto a, Half auto b) { return widen(a) <=> widen(b); }
inline bool operator==(Half auto a, Half auto b) { return widen(a) == widen(b); }

// Pairs: each half by itself.
#define EMULATOR_PTX_UNARY(name)       \
  template <class T>                   \
  inline Packed<T> name(Packed<T> a) { \
    return {name(a.lo), name(a.hi)};   \
  }
#define EMULATOR_PTX_BINARY(name)                   \
  template <class T>                                \
  inline Packed<T> name(Packed<T> a, Packed<T> b) { \
    return {name(a.lo, b.lo), name(a.hi, b.hi)};    \
  }
EMULATOR_PTX_UNARY(neg)
EMULATOR_PTX_UNARY(abs)
EMULATOR_PTX_UNARY(tanh)
EMULATOR_PTX_UNARY(exp2)
EMULATOR_PTX_UNARY(flush)
EMULATOR_PTX_UNARY(saturated)
EMULATOR_PTX_UNARY(rectified)
EMULATOR_PTX_BINARY(add)
EMULATOR_PTX_BINARY(sub)
EMULATOR_PTX_BINARY(mul)
EMULATOR_PTX_BINARY(min)
EMULATOR_PTX_BINARY(max)
EMULATOR_PTX_BINARY(min_nan)
EMULATOR_PTX_BINARY(max_nan)
#undef EMULATOR_PTX_UNARY
#undef EMULATOR_PTX_BINARY
template <class T>
inline Packed<T> fma(Packed<T> a, Packed<T> b, Packed<T> c) {
  return {fma(a.lo, b.lo, c.lo), fma(a.hi, b.hi, c.hi)};
}

}  // namespace emulator::ptx
