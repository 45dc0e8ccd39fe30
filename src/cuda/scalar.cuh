#pragma once
// The value type with which cells are compiled for a GPU: one float. The cells' unqualified calls
// of sigmoid, tanh and so on find these functions.

#include "cuda/bfloat16.cuh"
#include "cuda/device.cuh"

namespace rnnfast::cuda {

struct Scalar {
  float value;

  Scalar() = default;
  RNNFAST_DEVICE explicit Scalar(float v) : value(v) {}
};

RNNFAST_DEVICE Scalar operator+(Scalar a, Scalar b) { return Scalar(a.value + b.value); }
RNNFAST_DEVICE Scalar operator-(Scalar a, Scalar b) { return Scalar(a.value - b.value); }
RNNFAST_DEVICE Scalar operator*(Scalar a, Scalar b) { return Scalar(a.value * b.value); }

RNNFAST_DEVICE Scalar operator/(Scalar a, Scalar b) { return Scalar(a.value / b.value); }
RNNFAST_DEVICE Scalar operator-(Scalar a) { return Scalar(-a.value); }

// a * b + c, a * b - c, c - a * b.
RNNFAST_DEVICE Scalar fma(Scalar a, Scalar b, Scalar c) {
  return Scalar(fmaf(a.value, b.value, c.value));
}
RNNFAST_DEVICE Scalar fms(Scalar a, Scalar b, Scalar c) { return fma(a, b, -c); }
RNNFAST_DEVICE Scalar fnma(Scalar a, Scalar b, Scalar c) { return fma(-a, b, c); }

RNNFAST_DEVICE Scalar tanh(Scalar x) { return Scalar(tanhf(x.value)); }
RNNFAST_DEVICE Scalar sigmoid(Scalar x) { return Scalar(1.f / (1.f + expf(-x.value))); }
// NaN stays NaN.
RNNFAST_DEVICE Scalar relu(Scalar x) { return Scalar(x.value < 0.f ? 0.f : x.value); }

RNNFAST_DEVICE Scalar exp(Scalar x) { return Scalar(expf(x.value)); }
RNNFAST_DEVICE Scalar log(Scalar x) { return Scalar(logf(x.value)); }
RNNFAST_DEVICE Scalar sqrt(Scalar x) { return Scalar(sqrtf(x.value)); }
RNNFAST_DEVICE Scalar abs(Scalar x) { return Scalar(fabsf(x.value)); }
// If both are equal, returns the first; NaN in the first stays NaN.
RNNFAST_DEVICE Scalar maximum(Scalar a, Scalar b) {
  return a.value >= b.value || a.value != a.value ? a : b;
}
RNNFAST_DEVICE Scalar minimum(Scalar a, Scalar b) {
  return a.value <= b.value || a.value != a.value ? a : b;
}
// log(1 + exp(x)), without overflow.
RNNFAST_DEVICE Scalar softplus(Scalar x) { return relu(x) + Scalar(log1pf(expf(-fabsf(x.value)))); }
RNNFAST_DEVICE Scalar greater(Scalar a, Scalar b) { return Scalar(a.value > b.value ? 1.f : 0.f); }
RNNFAST_DEVICE Scalar select(Scalar condition, Scalar a, Scalar b) {
  return condition.value > 0.f ? a : b;
}

RNNFAST_DEVICE Scalar rounded(Scalar x) { return Scalar(rounded(x.value)); }

// Derivatives in terms of the function's value.
RNNFAST_DEVICE Scalar dtanh(Scalar y) { return Scalar(1.f - y.value * y.value); }
RNNFAST_DEVICE Scalar dsigmoid(Scalar y) { return Scalar(y.value * (1.f - y.value)); }
RNNFAST_DEVICE Scalar where_positive(Scalar condition, Scalar x) {
  return Scalar(condition.value > 0.f ? x.value : 0.f);
}

}  // namespace rnnfast::cuda
