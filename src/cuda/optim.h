#pragma once
// Optimisers' steps and gradient clipping on the device, for all parameters in one launch (two more
// if the norm is clipped). The functions only launch: they neither wait nor allocate, and return
// the same bits in every run; the norm stays on the device.

#include <optional>

#include "core/index.h"
#include "core/optimiser.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

inline constexpr Index kStepPiece = 4096;  // the most elements of a piece

// A piece of a parameter: its gradients, values and the step's buffers, null if unused.
struct StepPiece {
  float* arrays[2 + kStepBuffers];
  Index size;
};

struct StepPieces {
  const StepPiece* pieces;  // on the device
  int count;
  bool buffers[kStepBuffers];  // which of them are used
  double* sums;  // (count + 1,): workspace, and the gradients' norm if that is clipped
};

// How gradients are clipped and zeroed around a step.
struct GradientCare {
  std::optional<double> clip_norm, clip_value;
  bool zero;
};

void take_step(const StepPieces& pieces, const GradientCare& care, const SgdStep<float>& step,
               cudaStream_t stream);
void take_step(const StepPieces& pieces, const GradientCare& care, const AdagradStep<float>& step,
               cudaStream_t stream);
void take_step(const StepPieces& pieces, const GradientCare& care, const RmspropStep<float>& step,
               cudaStream_t stream);
void take_step(const StepPieces& pieces, const GradientCare& care, const AdamStep<float>& step,
               cudaStream_t stream);
// Only clips and zeros; values are not used.
void care_for_gradients(const StepPieces& pieces, const GradientCare& care, cudaStream_t stream);

}  // namespace rnnfast::cuda
