#pragma once
// Activations beyond those of math.h, and the derivatives of all. Those of tanh, sigmoid and relu
// are computed from the function's value, the others from its argument.

#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class T>
RNNFAST_INLINE Vec<T> drelu(Vec<T> y) {
  return where_positive(y, Vec<T>(1));
}

template <class T>
RNNFAST_INLINE Vec<T> silu(Vec<T> x) {
  return x * sigmoid(x);
}
template <class T>
RNNFAST_INLINE Vec<T> dsilu(Vec<T> x) {
  const typename Vec<T>::Raw s = sigmoid(x).v;
  return s + x.v * s * (T(1) - s);
}

// x times the standard normal's distribution function (Hendrycks and Gimpel 2016).
template <class T>
RNNFAST_INLINE Vec<T> normal_cdf(Vec<T> x) {
  return T(0.5) + T(0.5) * erf(Vec<T>(x.v * T(0.70710678118654752440))).v;
}
template <class T>
RNNFAST_INLINE Vec<T> gelu(Vec<T> x) {
  return x * normal_cdf(x);
}
template <class T>
RNNFAST_INLINE Vec<T> dgelu(Vec<T> x) {
  const Vec<T> density = exp(Vec<T>(x.v * x.v * T(-0.5)));
  return normal_cdf(x).v + x.v * density.v * T(0.39894228040143267794);
}

// The same source's approximation, 0.5 x (1 + tanh(u)).
template <class T>
RNNFAST_INLINE Vec<T> gelu_tanh_argument(Vec<T> x) {
  return x.v * (T(0.79788456080286535588) + T(0.035677408136300125) * x.v * x.v);
}
template <class T>
RNNFAST_INLINE Vec<T> gelu_tanh(Vec<T> x) {
  return T(0.5) * x.v * (T(1) + tanh(gelu_tanh_argument(x)).v);
}
template <class T>
RNNFAST_INLINE Vec<T> dgelu_tanh(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  const Vec<T> y = tanh(gelu_tanh_argument(x));
  const Raw du = T(0.79788456080286535588) + T(3 * 0.035677408136300125) * x.v * x.v;
  return T(0.5) * (T(1) + y.v + x.v * du * dtanh(y).v);
}

}  // namespace RNNFAST_ISA_NAMESPACE
