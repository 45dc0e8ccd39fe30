#pragma once
// Vectors of positive numbers with the exponent in a second double: products of thousands of
// probabilities neither underflow nor need logarithms.

#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

// m * 2^e with e an integer and m in [1, 2) once normalised. Zero is represented by an exponent
// near kNever, whose terms vanish in every sum.
struct Wide {
  using V = Vec<double>;
  V m, e;
};

inline constexpr double kNever = -1e300;

// 2^d for integers d up to 1000; 0 below -1000, where a term cannot change a sum.
RNNFAST_INLINE Vec<double> power_of_two(Vec<double> d) {
  using V = Vec<double>;
  const V magic(6755399441055744.0 + 1023);  // 1.5 * 2^52 and the exponent's bias
  const V::Raw power = (V::Raw)((V::RawInt)(d + magic).v << 52);
  return d.v > -1000.0 ? power : V::Raw{};
}

RNNFAST_INLINE Vec<double> larger(Vec<double> a, Vec<double> b) { return a.v > b.v ? a.v : b.v; }

// Sums are not normalised: their m is below the number of terms times the largest m.
RNNFAST_INLINE Wide operator+(Wide a, Wide b) {
  const Vec<double> e = larger(a.e, b.e);
  return {a.m * power_of_two(a.e - e) + b.m * power_of_two(b.e - e), e};
}
RNNFAST_INLINE Wide sum(Wide a, Wide b, Wide c) {
  const Vec<double> e = larger(larger(a.e, b.e), c.e);
  return {a.m * power_of_two(a.e - e) + b.m * power_of_two(b.e - e) + c.m * power_of_two(c.e - e),
          e};
}

// A product is normalised.
RNNFAST_INLINE Wide operator*(Wide a, Wide b) {
  using V = Vec<double>;
  typedef unsigned long long Bits RNNFAST_VECTOR();
  const Bits bits = (Bits)(a.m * b.m).v;
  const V exponent((V::Raw)((bits >> 52) | 0x4330000000000000));  // 2^52 + exponent + bias
  const V::Raw m = (V::Raw)((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  return {m, a.e + b.e + (exponent - V(4503599627370496.0 + 1023))};
}

// exp(x) for x in [kNever, 0]; NaN gives an exponent of NaN, which sums and products keep.
RNNFAST_INLINE Wide wide_exp(Vec<double> x) {
  using V = Vec<double>;
  const V magic(6755399441055744.0);  // adding it rounds to an integer
  V n = V(x.v * 1.44269504088896340736 + magic.v);
  n = n - magic;
  V::Raw r = x.v - n.v * 6.93147180369123816490e-01;
  r = r - n.v * 1.90821492927058770002e-10;
  return {exp(clamp(V(r), 1.0)), n};  // clamps r for x so large that n's rounding matters
}

}  // namespace RNNFAST_ISA_NAMESPACE
