#pragma once
// Estimates the time of a step from the rates of a device's family. Latencies come from the
// literature, rates from data sheets: they rank kernels and are not measurements.

#include "cuda/plan.h"

namespace rnnfast::cuda {

struct Rates {
  double clock;            // Hz
  double fma, mma;         // float32 and bfloat16 multiply-adds per clock and multiprocessor
  double l2, distributed;  // bytes per clock and multiprocessor
  double memory;           // bytes per second
};

Rates rates(const DeviceProperties& device);

// Estimates the plan's present shape; its `resident` must be set.
Estimate estimate(const Plan& plan, const LayerShape& shape, const DeviceProperties& device);

}  // namespace rnnfast::cuda
