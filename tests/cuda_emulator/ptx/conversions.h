#pragma once
// cvt between integers and floating point of all widths.

#include <utility>

#include "ptx/halves.h"
#include "ptx/integers.h"

namespace emulator::ptx {

template <Integer To, Integer From>
inline To convert(From value) {
  return static_cast<To>(value);
}
template <Integer To, Integer From>
inline To convert_saturated(From value) {
  if (std::cmp_less(value, std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (std::cmp_greater(value, std::numeric_limits<To>::max()))
    return std::numeric_limits<To>::max();
  return static_cast<To>(value);
}

// Out of range gives the nearest bound. A NaN gives 0, but the highest bit alone where one of the
// two is 64 bits wide.
template <Integer To, Rounding mode, class From>
inline To to_integer(From source) {
  const f64 value = integral<mode>(widen(source));
  using Limits = std::numeric_limits<To>;
  if (value != value)
    return std::same_as<From, f64> || sizeof(To) == 8
               ? static_cast<To>(Unsigned<To>(1) << (kBits<To> - 1))
               : To(0);
  if (value < static_cast<f64>(Limits::min())) return Limits::min();
  // max() + 1 is a power of two, which double has
  if (value >= std::ldexp(1.0, Limits::digits)) return Limits::max();
  return static_cast<To>(value);
}

// An integer as a double whose last bit is set if it does not fit: see odd_sum.
template <Integer From>
inline f64 odd_double(From value) {
  const auto low = static_cast<s64>(value & 0x7ff), high = static_cast<s64>(value >> 11);
  return odd_sum(std::ldexp(static_cast<f64>(high), 11), static_cast<f64>(low));
}

template <class To, Rounding mode, Integer From>
inline To from_integer(From value) {
  if constexpr (Half<To>)
    return narrow<To, mode>(odd_double(value));
  else
    return rounded<mode>([](From x) { return static_cast<To>(x); }, value);
}

// From one floating-point type to another, or the same.
template <class To, Rounding mode, class From>
inline To change(From value) {
  if constexpr (Half<To>)
    return narrow<To, mode>(widen(value));
  else if constexpr (std::same_as<From, f64> && std::same_as<To, f32>)
    return canonical(rounded<mode>([](f64 x) { return static_cast<f32>(x); }, value));
  else
    return canonical(static_cast<To>(widen(value)));
}

// To an integer of the same type.
template <Rounding mode, class T>
inline T to_integral(T value) {
  return change<T, rn>(std::copysign(integral<mode>(widen(value)), widen(value)));
}

template <class T, Rounding mode>
inline T pack(f32 high, f32 low) {
  using Part = decltype(T::lo);
  return {narrow<Part, mode>(low), narrow<Part, mode>(high)};
}

template <Rounding mode>
inline f32 round_to_tf32(f32 value) {
  return canonical(static_cast<f32>(round_to<tf32, mode>(value)));
}

}  // namespace emulator::ptx
