#include "cuda/device.cuh"
#include "cuda/optim.h"
#include "cuda/reduce.cuh"

namespace rnnfast::cuda {

// ---- the norm of all gradients, in double so that huge ones do not overflow

__global__ void __launch_bounds__(kReduceThreads)
    square_kernel(const StepPiece* pieces, double* sums) {
  const StepPiece& piece = pieces[blockIdx.x];
  double sum = 0;
  for (Index i = threadIdx.x; i < piece.size; i += kReduceThreads) {
    const double g = piece.arrays[0][i];
    sum += g * g;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kReduceThreads)
    norm_kernel(const double* sums, int count, double* norm) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kReduceThreads) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *norm = sqrt(sum);
}

// ---- steps: a block goes through one piece

// GradientCare in the form that kernels take.
struct DeviceCare {
  const double* norm;  // null if the norm is not clipped
  double clip_norm;
  bool clips_value, zero;
  float clip_value;
};

// The scaling and clipping of a block's gradients.
struct Clip {
  float factor, limit;
  bool scales, clamps, zero;

  RNNFAST_DEVICE explicit Clip(const DeviceCare& care)
      : factor(1), limit(care.clip_value), clamps(care.clips_value), zero(care.zero) {
    const double exact = care.norm ? care.clip_norm / (*care.norm + 1e-6) : 1;
    scales = !(exact >= 1);  // so that a NaN reaches all values
    factor = float(exact);
  }
  RNNFAST_DEVICE float operator()(float gradient) const {
    if (scales) gradient *= factor;
    return clamps ? clamped(gradient, limit) : gradient;
  }
  RNNFAST_DEVICE void finish(float& gradient, float used) const {
    if (scales || clamps || zero) gradient = zero ? 0.0f : used;
  }
};

__global__ void __launch_bounds__(kReduceThreads)
    care_kernel(const StepPiece* pieces, DeviceCare care) {
  const StepPiece piece = pieces[blockIdx.x];
  const Clip clip(care);
  for (Index i = threadIdx.x; i < piece.size; i += kReduceThreads) {
    float& gradient = piece.arrays[0][i];
    clip.finish(gradient, clip(gradient));
  }
}

template <bool kFirst, bool kSecond, bool kThird, class Step>
__global__ void __launch_bounds__(kReduceThreads, 4)
    step_kernel(const StepPiece* pieces, DeviceCare care, Step step) {
  const StepPiece piece = pieces[blockIdx.x];
  float *first = piece.arrays[2], *second = piece.arrays[3], *third = piece.arrays[4];
  const Clip clip(care);
  for (Index i = threadIdx.x; i < piece.size; i += kReduceThreads) {
    const float gradient = clip(piece.arrays[0][i]);
    float value = piece.arrays[1][i], buffers[kStepBuffers];
    if constexpr (kFirst) buffers[0] = first[i];
    if constexpr (kSecond) buffers[1] = second[i];
    if constexpr (kThird) buffers[2] = third[i];
    step.template apply<kFirst, kSecond, kThird>(value, gradient, buffers);
    piece.arrays[1][i] = value;
    if constexpr (kFirst) first[i] = buffers[0];
    if constexpr (kSecond) second[i] = buffers[1];
    if constexpr (kThird) third[i] = buffers[2];
    clip.finish(piece.arrays[0][i], gradient);
  }
}

// ---- host

namespace {

Launch per_piece(const StepPieces& pieces, cudaStream_t stream) {
  return {.grid = unsigned(pieces.count), .block = kReduceThreads, .stream = stream};
}

DeviceCare prepare(const StepPieces& p, const GradientCare& care, cudaStream_t stream) {
  if (care.clip_norm) {
    launch(per_piece(p, stream), square_kernel, p.pieces, p.sums + 1);
    launch({.grid = 1, .block = kReduceThreads, .stream = stream}, norm_kernel, p.sums + 1, p.count,
           p.sums);
  }
  return {.norm = care.clip_norm ? p.sums : nullptr,
          .clip_norm = care.clip_norm.value_or(0),
          .clips_value = care.clip_value.has_value(),
          .zero = care.zero,
          .clip_value = float(care.clip_value.value_or(0))};
}

template <bool kFirst, bool kSecond, bool kThird, class Step>
void launch_step(const StepPieces& p, const GradientCare& care, const Step& step,
                 cudaStream_t stream) {
  if (p.count == 0) return;
  const DeviceCare prepared = prepare(p, care, stream);
  launch(per_piece(p, stream), step_kernel<kFirst, kSecond, kThird, Step>, p.pieces, prepared,
         step);
}

}  // namespace

void take_step(const StepPieces& p, const GradientCare& care, const SgdStep<float>& step,
               cudaStream_t stream) {
  (p.buffers[0] ? launch_step<true, false, false, SgdStep<float>>
                : launch_step<false, false, false, SgdStep<float>>)(p, care, step, stream);
}

void take_step(const StepPieces& p, const GradientCare& care, const AdagradStep<float>& step,
               cudaStream_t stream) {
  launch_step<true, false, false>(p, care, step, stream);
}

void take_step(const StepPieces& p, const GradientCare& care, const RmspropStep<float>& step,
               cudaStream_t stream) {
  using Step = RmspropStep<float>;
  const bool centered = p.buffers[2];
  (p.buffers[1]
       ? (centered ? launch_step<true, true, true, Step> : launch_step<true, true, false, Step>)
       : (centered ? launch_step<true, false, true, Step> : launch_step<true, false, false, Step>))(
      p, care, step, stream);
}

void take_step(const StepPieces& p, const GradientCare& care, const AdamStep<float>& step,
               cudaStream_t stream) {
  launch_step<true, true, false>(p, care, step, stream);
}

void care_for_gradients(const StepPieces& p, const GradientCare& care, cudaStream_t stream) {
  if (p.count == 0) return;
  const DeviceCare prepared = prepare(p, care, stream);
  launch(per_piece(p, stream), care_kernel, p.pieces, prepared);
}

}  // namespace rnnfast::cuda
