#pragma once
// exp, sigmoid, tanh and the other functions that cells need, on vectors. NaN returns NaN.
//
// Largest error over the whole range, in units in the last place (tests/test_math.py enforces it):
//   exp      float 2, double 2       for arguments up to kExpLimit with normal results; otherwise
//                                    0 or inf
//   sigmoid  float 3, double 3       for results above the smallest normal number; 0 below
//                                    -kExpLimit
//   tanh     float 4, double 3       everywhere, tiny arguments included; AVX-512 has 3.05
//   log      float 3, double 3       for normal arguments; -inf at 0, NaN below; subnormal
//                                    numbers count as 0
//   softplus float 3, double 3       for normal results; 0 below -kExpLimit
//   erf      float 2, double 2       everywhere, tiny arguments included

#include "cpu/vec.h"

namespace RNNFAST_ISA_NAMESPACE {

// Clamps x to [-limit, limit]. NaN stays: comparisons with it are false, and x86's minimum and
// maximum, which compilers do not generate by themselves, return their second operand for it.
template <class T>
RNNFAST_INLINE Vec<T> clamp(Vec<T> x, T limit) {
  const typename Vec<T>::Raw lo = Vec<T>(-limit).v, hi = Vec<T>(limit).v;
#if defined(RNNFAST_AVX512)
  if constexpr (sizeof(T) == 4)
    return (typename Vec<T>::Raw)_mm512_maskz_min_ps(
        0xffff, (__m512)hi, _mm512_maskz_max_ps(0xffff, (__m512)lo, (__m512)x.v));
#endif
  typename Vec<T>::Raw y = lo > x.v ? lo : x.v;
  return y = hi < y ? hi : y;
}

// exp(x) - 1 on the reduced range and the power of two: exp(x) = (p + 1) * scale.
template <class T>
struct ExpParts {
  Vec<T> p, scale;
};

// x = n ln 2 + r with ln 2 split in two (Cephes), |r| <= ln(2) / 2; the polynomial is a minimax fit
// whose relative error is 3e-9. Needs |x| <= 88.
RNNFAST_INLINE ExpParts<float> exp_parts(Vec<float> x) {
  using V = Vec<float>;
  const V magic(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  V n = V(x.v * 1.44269504088896341f + magic.v);
  const V::RawInt bits = (V::RawInt)n.v;
  n = n - magic;
  V::Raw r = x.v - n.v * 0.693359375f;
  r = r + n.v * 2.12194440e-4f;
  V::Raw q = r * 1.3814539e-3f + 8.3687454e-3f;
  q = q * r + 4.1668389e-2f;
  q = q * r + 1.6666521e-1f;
  q = q * r + 4.9999994e-1f;
  const V::RawInt scale = (bits << 23) + 0x3f800000;
  return {V(q * (r * r) + r), V((V::Raw)scale)};
}

// The Taylor series to degree 13 on |r| <= ln(2) / 2 leaves 4e-18. Needs |x| <= 709.
RNNFAST_INLINE ExpParts<double> exp_parts(Vec<double> x) {
  using V = Vec<double>;
  const V magic(6755399441055744.0);  // 1.5 * 2^52
  V n = V(x.v * 1.44269504088896340736 + magic.v);
  const V::RawInt bits = (V::RawInt)n.v;
  n = n - magic;
  V::Raw r = x.v - n.v * 6.93147180369123816490e-01;
  r = r - n.v * 1.90821492927058770002e-10;
  V::Raw q = r * (1.0 / 6227020800) + 1.0 / 479001600;
  q = q * r + 1.0 / 39916800;
  q = q * r + 1.0 / 3628800;
  q = q * r + 1.0 / 362880;
  q = q * r + 1.0 / 40320;
  q = q * r + 1.0 / 5040;
  q = q * r + 1.0 / 720;
  q = q * r + 1.0 / 120;
  q = q * r + 1.0 / 24;
  q = q * r + 1.0 / 6;
  q = q * r + 0.5;
  const V::RawInt scale = (bits << 52) + 0x3ff0000000000000;
  return {V(q * (r * r) + r), V((V::Raw)scale)};
}

template <class T>
inline constexpr T kExpLimit = sizeof(T) == 4 ? T(88) : T(709);  // 2^n stays finite up to here
template <class T>
inline constexpr T kTanhLimit = sizeof(T) == 4 ? T(9.1) : T(19.1);  // tanh rounds to 1 beyond

// a / b for results and 1 / b in the normal range, within 2 ulp.
template <class T>
RNNFAST_INLINE Vec<T> quotient(Vec<T> a, Vec<T> b) {
#if defined(RNNFAST_AVX512)
  if constexpr (sizeof(T) == 4) {  // a division takes as long as 32 multiply-adds, 16 cycles
    const __m512 divisor = (__m512)b.v;
    __m512 y = _mm512_maskz_rcp14_ps(0xffff, divisor);
    // Fused whatever the compiler contracts: a rounded product would spoil the small residual.
    y = _mm512_fmadd_ps(y, _mm512_fnmadd_ps(divisor, y, _mm512_set1_ps(1.0f)), y);
    // Masked, as compilers would fuse a plain product into a sum of the caller.
    return (typename Vec<T>::Raw)_mm512_maskz_mul_ps(0xffff, (__m512)a.v, y);
  }
#endif
  return a / b;
}

template <class T>
RNNFAST_INLINE Vec<T> exp(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  const ExpParts<T> e = exp_parts(clamp(x, kExpLimit<T>));  // the scale is 0 for subnormal results
  const Raw y = e.scale.v * e.p.v + e.scale.v;
  return x.v > kExpLimit<T> ? Vec<T>(T(__builtin_inf())).v : y;
}

// Returns 0 below -kExpLimit: the clamped argument's result, 6e-39, is not negligible next to every
// operand.
template <class T>
RNNFAST_INLINE Vec<T> sigmoid(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  const ExpParts<T> e = exp_parts(clamp(Vec<T>(-x.v), kExpLimit<T>));
  const Raw y = quotient<T>(Vec<T>(1), e.scale.v * e.p.v + e.scale.v + T(1)).v;
  return x.v < -kExpLimit<T> ? Raw{} : y;
}

// tanh = e / (e + 2) with e = exp(2x) - 1, computed without cancellation.
template <class T>
RNNFAST_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> y = clamp(x, kTanhLimit<T>);
  const ExpParts<T> parts = exp_parts(y + y);
  const typename Vec<T>::Raw e = parts.scale.v * parts.p.v + (parts.scale.v - T(1));
  return quotient<T>(e, e + T(2));
}

// The polynomial c[0] + c[1] x + ...
template <class T, int kTerms>
RNNFAST_INLINE typename Vec<T>::Raw polynomial(const T (&c)[kTerms], typename Vec<T>::Raw x) {
  typename Vec<T>::Raw y = c[kTerms - 1] - typename Vec<T>::Raw{};
#pragma GCC unroll 32
  for (int i = kTerms - 2; i >= 0; --i) y = y * x + c[i];
  return y;
}

// log(1 + u) = 2 artanh(z) with z = u / (2 + u), for z^2 <= 1/9: the series of artanh, to a term
// below half a unit in the last place.
template <class T>
RNNFAST_INLINE Vec<T> log1p_reduced(Vec<T> u) {
  using Raw = typename Vec<T>::Raw;
  const Raw z = u.v / (u.v + T(2)), s = z * z;
  Raw p;
  if constexpr (sizeof(T) == 4) {
    constexpr float c[] = {2.f / 3, 2.f / 5, 2.f / 7, 2.f / 9, 2.f / 11, 2.f / 13, 2.f / 15};
    p = polynomial<T>(c, s);
  } else {
    constexpr double c[] = {2. / 3,  2. / 5,  2. / 7,  2. / 9,  2. / 11, 2. / 13, 2. / 15, 2. / 17,
                            2. / 19, 2. / 21, 2. / 23, 2. / 25, 2. / 27, 2. / 29, 2. / 31, 2. / 33};
    p = polynomial<T>(c, s);
  }
  // u - z (u - s p): as 2 z = u - z u, only a small term is subtracted from u, which keeps its
  // digits.
  return u.v - z * (u.v - s * p);
}

// x = 2^n m with m in [sqrt(1/2), sqrt(2)).
template <class T>
RNNFAST_INLINE Vec<T> log(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  using Int = typename Vec<T>::RawInt;
  constexpr bool kFloat = sizeof(T) == 4;
  constexpr int kMantissa = kFloat ? 23 : 52;
  constexpr auto kHalf = kFloat ? 0x3f3504f3 : 0x3fe6a09e667f3bcd;  // the bits of sqrt(1/2)
  constexpr T kSmallest = kFloat ? T(1.17549435e-38) : T(2.2250738585072014e-308);
  const Raw normal = x.v >= kSmallest ? x.v : T(1) - Raw{};  // the rest are set below
  const Int bits = (Int)normal, above = bits - kHalf;
  const Int n = above >> kMantissa;
  const Vec<T> m((Raw)(bits - (n << kMantissa)));
  const Raw exponent = __builtin_convertvector(n, Raw);
  const T hi = kFloat ? T(0.693359375) : T(6.93147180369123816490e-01);
  const T lo = kFloat ? T(-2.12194440e-4) : T(1.90821492927058770002e-10);
  Raw y = exponent * hi + (exponent * lo + log1p_reduced<T>(m.v - T(1)).v);
  y = x.v < T(__builtin_inf()) ? y : x.v;  // inf and NaN stay
  y = x.v < kSmallest ? T(-__builtin_inf()) - Raw{} : y;
  return y = x.v < T(0) ? T(__builtin_nan("")) - Raw{} : y;
}

// max(x, 0) + log(1 + exp(-|x|)).
template <class T>
RNNFAST_INLINE Vec<T> softplus(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  const Vec<T> magnitude = x.v < T(0) ? x.v : -x.v;  // -|x|
  const Vec<T> u = exp(magnitude);
  const Raw rest = log1p_reduced(u).v;
  const Raw y = x.v > T(0) ? x.v + rest : rest;
  return x.v < -kExpLimit<T> ? Raw{} : y;
}

// Below kErfSplit x + x p(x^2), above it 1 - exp(q(|x|)), with the logarithm of erfc as q: minimax
// fits by Remez's algorithm, whose relative errors in erf are 2e-8 and 2e-18.
template <class T>
inline constexpr T kErfLimit = sizeof(T) == 4 ? T(4) : T(6);  // erf rounds to 1 beyond

template <class T>
RNNFAST_INLINE Vec<T> erf(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  constexpr T kErfSplit = T(0.93);
  const Raw magnitude = x.v < T(0) ? -x.v : x.v;
  const Raw t = clamp(Vec<T>(magnitude), kErfLimit<T>).v, s = t * t;
  Raw p, q;
  if constexpr (sizeof(T) == 4) {
    constexpr float small[] = {0.128379148f,   -0.37612481f,   0.112816825f,
                               -0.0267617199f, 0.00498594062f, -0.000595374172f};
    constexpr float large[] = {-0.000211314137f, -1.1276112f,     -0.637290430f,  -0.103836898f,
                               0.0221813816f,    -0.00303183186f, 0.000194777544f};
    p = polynomial<T>(small, s), q = polynomial<T>(large, t);
  } else {
    constexpr double small[] = {
        0.12837916709551257239,    -0.37612638903183703073,   0.11283791670952438581,
        -0.026866170644556949192,  0.0052239776190839008381,  -0.00085483266070118788533,
        0.00012055315641375226093, -1.4925173357132490379e-5, 1.6453317739752462625e-6,
        -1.6257840771435300894e-7, 1.3953502552372195603e-8,  -8.2724260028642415954e-10};
    constexpr double large[] = {
        -2.3232398029764193369e-9,  -1.1283791787227760238,    -0.63661946488904510146,
        -0.10277462201919460324,    0.019135994357631397715,   0.00019002039183587804446,
        -0.0016604021462121875899,  0.0005388082250521505138,  3.2053747189377155417e-5,
        -0.00011676633875680801558, 6.7635297769194244257e-5,  -2.5394059643946697284e-5,
        7.1308643159307063105e-6,   -1.555645682626370538e-6,  2.6485383292297364906e-7,
        -3.4687515666993023028e-8,  3.3830843578191333418e-9,  -2.3162620869429106581e-10,
        9.9342868099217424403e-12,  -2.0076912242981620745e-13};
    p = polynomial<T>(small, s), q = polynomial<T>(large, t);
  }
  const Raw above = T(1) - exp(Vec<T>(q)).v;
  return magnitude > kErfSplit ? (x.v < T(0) ? -above : above) : x.v + x.v * p;
}

template <class T>
RNNFAST_INLINE Vec<T> sqrt(Vec<T> x) {
  Vec<T> y;
  for (int i = 0; i < kLanes<T>; ++i)
    y.v[i] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(x.v[i]))) : T(__builtin_sqrt(x.v[i]));
  return y;
}

template <class T>
RNNFAST_INLINE Vec<T> relu(Vec<T> x) {
  return x.v < T(0) ? typename Vec<T>::Raw{} : x.v;
}
// y where x > 0, else 0.
template <class T>
RNNFAST_INLINE Vec<T> where_positive(Vec<T> x, Vec<T> y) {
  return x.v > T(0) ? y.v : typename Vec<T>::Raw{};
}

// Derivatives from the function's value.
template <class T>
RNNFAST_INLINE Vec<T> dsigmoid(Vec<T> y) {
  return y.v * (T(1) - y.v);
}
template <class T>
RNNFAST_INLINE Vec<T> dtanh(Vec<T> y) {
  return T(1) - y.v * y.v;
}

}  // namespace RNNFAST_ISA_NAMESPACE
