#pragma once
// The optimisers' steps on registers, with the formulas of PyTorch's documentation: what loops on
// the CPU and kernels on a GPU share. Nothing here touches memory.
//
// A step's apply<kFirst, kSecond, kThird>(value, gradient, buffers) changes the value and the
// buffers that there are; a buffer that is left out belongs to an option that is off.

#include "core/index.h"
#include "core/macros.h"

namespace rnnfast {

inline constexpr int kStepBuffers = 3;

// Coefficients are rounded once from double.
template <class T>
struct SgdStep {  // velocity, if there is momentum
  T lr, momentum, weight_decay;
  bool nesterov;

  static SgdStep make(double lr, double momentum, double weight_decay, bool nesterov) {
    return {T(lr), T(momentum), T(weight_decay), nesterov};
  }

  template <bool kVelocity, bool, bool>
  RNNFAST_INLINE void apply(T& value, T gradient, T (&buffers)[kStepBuffers]) const {
    T g = gradient + weight_decay * value;
    if constexpr (kVelocity) {
      const T v = buffers[0] = momentum * buffers[0] + g;
      g = nesterov ? g + momentum * v : v;
    }
    value -= lr * g;
  }
};

template <class T>
struct AdagradStep {  // sum
  T lr, eps, weight_decay;

  static AdagradStep make(double lr, double eps, double weight_decay) {
    return {T(lr), T(eps), T(weight_decay)};
  }

  template <bool, bool, bool>
  RNNFAST_INLINE void apply(T& value, T gradient, T (&buffers)[kStepBuffers]) const {
    const T g = gradient + weight_decay * value;
    const T total = buffers[0] = buffers[0] + g * g;
    value -= lr * g / (square_root(total) + eps);
  }
};

template <class T>
struct RmspropStep {  // square, velocity if there is momentum, mean if centered
  T lr, alpha, one_minus_alpha, eps, momentum, weight_decay;

  static RmspropStep make(double lr, double alpha, double eps, double momentum,
                          double weight_decay) {
    return {T(lr), T(alpha), T(1 - alpha), T(eps), T(momentum), T(weight_decay)};
  }

  template <bool, bool kVelocity, bool kMean>
  RNNFAST_INLINE void apply(T& value, T gradient, T (&buffers)[kStepBuffers]) const {
    const T g = gradient + weight_decay * value;
    T variance = buffers[0] = alpha * buffers[0] + one_minus_alpha * (g * g);
    if constexpr (kMean) {
      const T m = buffers[2] = buffers[2] + one_minus_alpha * (g - buffers[2]);
      variance -= m * m;
    }
    T update = g / (square_root(variance) + eps);
    if constexpr (kVelocity) update = buffers[1] = momentum * buffers[1] + update;
    value -= lr * update;
  }
};

template <class T>
struct AdamStep {  // mean, square
  T step_size;     // lr / (1 - beta1^t)
  T correction;    // 1 / sqrt(1 - beta2^t)
  T one_minus_beta1, beta2, one_minus_beta2, eps;
  T weight_decay;  // added to the gradient (Adam)
  T shrink;        // the parameter is multiplied by it first (AdamW), 1 for Adam

  // `decoupled` is AdamW; steps count from 1.
  static AdamStep make(double lr, double beta1, double beta2, double eps, double weight_decay,
                       bool decoupled, Index step) {
    const double seen1 = 1 - __builtin_pow(beta1, double(step));
    const double seen2 = 1 - __builtin_pow(beta2, double(step));
    return {.step_size = T(lr / seen1),
            .correction = T(1 / __builtin_sqrt(seen2)),
            .one_minus_beta1 = T(1 - beta1),
            .beta2 = T(beta2),
            .one_minus_beta2 = T(1 - beta2),
            .eps = T(eps),
            .weight_decay = T(decoupled ? 0 : weight_decay),
            .shrink = T(decoupled ? 1 - lr * weight_decay : 1)};
  }

  template <bool, bool, bool>
  RNNFAST_INLINE void apply(T& value, T gradient, T (&buffers)[kStepBuffers]) const {
    const T w = value * shrink, g = gradient + weight_decay * w;
    const T m = buffers[0] = buffers[0] + one_minus_beta1 * (g - buffers[0]);
    const T v = buffers[1] = beta2 * buffers[1] + one_minus_beta2 * (g * g);
    value = w - step_size * m / (square_root(v) * correction + eps);
  }
};

// Into [-limit, limit]; NaN stays.
template <class T>
RNNFAST_INLINE T clamped(T x, T limit) {
  const T y = x < -limit ? -limit : x;
  return y > limit ? limit : y;
}

}  // namespace rnnfast
