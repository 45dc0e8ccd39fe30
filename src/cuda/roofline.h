#pragma once
// The time of a step on paper, from the rates of a device's family. Latencies are of the
// literature, rates of data sheets: they rank kernels, and are no measurement.

#include "cuda/plan.h"

namespace rnnfast::cuda {

struct Rates {
  double clock;            // Hz
  double fma, mma;         // float32 and bfloat16 multiply-adds a clock and multiprocessor
  double l2, distributed;  // bytes a clock and multiprocessor
  double memory;           // bytes a second
};

Rates rates(const DeviceProperties& device);

// Of the shape that the plan has so far; its `resident` blocks are known.
Estimate estimate(const Plan& plan, const LayerShape& shape, const DeviceProperties& device);

}  // namespace rnnfast::cuda
