#pragma once
// The kernels of the fallback (gemm_step.cu): the pointwise part of each stage, one launch each.

#include "cuda/element.cuh"
#include "cuda/global_arrays.cuh"
#include "cuda/resources.h"

namespace rnnfast::cuda {
namespace stepwise {

// Thread i has unit i % H of sequence i / H.
struct ThreadPlace {
  int b, unit;

  RNNFAST_DEVICE explicit ThreadPlace(const CallSize& size) {
    const Index i = Index(blockIdx.x) * kThreads + threadIdx.x;
    b = int(i / size.hidden);
    unit = int(i % size.hidden);
  }
  RNNFAST_DEVICE bool exists(const CallSize& size) const { return b < size.batch; }
};

// Loads kSums sums of one sequence, as the products stored them: (B, kSums, H).
template <int kSums>
RNNFAST_DEVICE void load_sums(const float* sums, const CallSize& size, ThreadPlace i,
                              Scalar* values) {
  load<kSums>(sums + Index(i.b) * kSums * size.hidden + i.unit, size.hidden, values);
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_begin(ForwardArgs args) {
  const ThreadPlace i(args.size);
  if (!i.exists(args.size)) return;
  constexpr int kLast = Cell::info.last();
  typename ForwardElement<Cell>::template Operands<kLast> operands;
  ForwardElement<Cell>{args}.begin(i.b, i.unit, operands);
  ForwardArrays<Cell>{args}.template store_operands<kLast>(args.size.before(args.size.step(0)), i.b,
                                                           i.unit, operands);
}

template <class Cell, int kStage>
__global__ void __launch_bounds__(kThreads) forward_stage(ForwardArgs args, int t) {
  using Element = ForwardElement<Cell>;
  const ThreadPlace i(args.size);
  if (!i.exists(args.size)) return;
  typename Element::template Sums<kStage> sums;
  typename Element::template Operands<kStage> operands;
  load_sums<kMultiplied<Cell, kStage>.sums>(args.sums, args.size, i, sums);
  Element{args}.template step<kStage>({t, i.b, i.unit}, sums, operands);
  ForwardArrays<Cell>{args}.template store_operands<kStage>(
      kStage == Cell::info.last() ? args.size.after(t) : t, i.b, i.unit, operands);
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_end(ForwardArgs args) {
  const ThreadPlace i(args.size);
  if (i.exists(args.size)) ForwardElement<Cell>{args}.end(i.b, i.unit);
}

// Runs the last stage of the step that `phase` steps follow; sums are zero in the first phase.
template <class Cell>
__global__ void __launch_bounds__(kThreads) backward_last(BackwardArgs args, int phase) {
  using Element = BackwardElement<Cell>;
  constexpr int kLast = Cell::info.last();
  const CallSize& size = args.size;
  const ThreadPlace i(size);
  if (!i.exists(size)) return;
  const Element element{args};
  typename Element::template After<kLast> sums;
  if (phase > 0) {
    load_sums<kMultiplied<Cell, Cell::info.first()>.slabs>(args.sums, size, i, sums);
  } else {
#pragma unroll
    for (Scalar& sum : sums) sum = Scalar(0.f);
    element.begin(i.b, i.unit);
  }
  if (phase == size.steps) return element.end(i.b, i.unit, sums);
  const int t = size.step(size.steps - 1 - phase);
  typename Element::template Gates<kLast> dh;
  element.template step<kLast>({t, i.b, i.unit}, sums, dh);
  BackwardArrays<Cell>{args}.template store_gates<kLast>(t, i.b, i.unit, dh);
}

template <class Cell, int kStage>
__global__ void __launch_bounds__(kThreads) backward_stage(BackwardArgs args, int t) {
  using Element = BackwardElement<Cell>;
  const ThreadPlace i(args.size);
  if (!i.exists(args.size)) return;
  typename Element::template After<kStage> sums;
  typename Element::template Gates<kStage> dh;
  load_sums<kMultiplied<Cell, kStage + 1>.slabs>(args.sums, args.size, i, sums);
  Element{args}.template step<kStage>({t, i.b, i.unit}, sums, dh);
  BackwardArrays<Cell>{args}.template store_gates<kStage>(t, i.b, i.unit, dh);
}

}  // namespace stepwise
}  // namespace rnnfast::cuda
