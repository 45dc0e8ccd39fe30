#pragma once
// The value type with which the cells are compiled for a GPU: one float, found by their unqualified
// calls of sigmoid, tanh and so on.

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

RNNFAST_DEVICE Scalar tanh(Scalar x) { return Scalar(tanhf(x.value)); }
RNNFAST_DEVICE Scalar sigmoid(Scalar x) { return Scalar(1.f / (1.f + expf(-x.value))); }
// NaN stays NaN.
RNNFAST_DEVICE Scalar relu(Scalar x) { return Scalar(x.value < 0.f ? 0.f : x.value); }

RNNFAST_DEVICE Scalar rounded(Scalar x) { return Scalar(rounded(x.value)); }

// Derivatives in terms of the function's value.
RNNFAST_DEVICE Scalar dtanh(Scalar y) { return Scalar(1.f - y.value * y.value); }
RNNFAST_DEVICE Scalar dsigmoid(Scalar y) { return Scalar(y.value * (1.f - y.value)); }
RNNFAST_DEVICE Scalar where_positive(Scalar condition, Scalar x) {
  return Scalar(condition.value > 0.f ? x.value : 0.f);
}

}  // namespace rnnfast::cuda
