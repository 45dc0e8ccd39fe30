#pragma once
// The persistent kernels that run on every device, and to which the others are compared. The blocks
// of a sub-batch share its hidden units (blockIdx.x: slice of units, blockIdx.y: sub-batch), keep
// their weights in shared memory, exchange operands through global memory and meet once per stage
// that has products. A block that has all units, or a cell without products, need not wait.

#include "cuda/element.cuh"
#include "cuda/fma_product.cuh"
#include "cuda/global_arrays.cuh"

namespace rnnfast::cuda {

// A barrier for all threads of the blocks of a sub-batch. The whole grid must be resident.
class SubBatchBarrier {
 public:
  RNNFAST_DEVICE explicit SubBatchBarrier(unsigned* counters) : counter_(counters + blockIdx.y) {}

  // Without `kAcrossBlocks`, waits only for the threads of this block.
  template <bool kAcrossBlocks>
  RNNFAST_DEVICE void wait() {
    __syncthreads();
    if (!kAcrossBlocks || gridDim.x == 1) return;
    if (threadIdx.x == 0) {
      add_release(counter_, 1);
      target_ += gridDim.x;
      while (load_acquire(counter_) < target_) {
      }
    }
    __syncthreads();
  }

 private:
  unsigned* counter_;
  unsigned target_ = 0;
};

RNNFAST_DEVICE FmaSlice slice_of(const CallSize& size, GridShape shape) {
  const int unit = int(blockIdx.x) * shape.units, row = int(blockIdx.y) * shape.rows;
  return {size.hidden, unit, min(shape.units, size.hidden - unit), row,
          min(shape.rows, size.batch - row)};
}

// Calls element(b, unit) for all elements of the block.
template <class Element>
RNNFAST_DEVICE void for_each_element(const FmaSlice& slice, const Element& element) {
  for (int i = threadIdx.x; i < slice.units * slice.rows; i += kThreads)
    element(slice.first_row + i / slice.units, slice.first_unit + i % slice.units);
}

// Computes a stage's products, where `slab(i)` returns a slab's first row, and calls element(unit,
// b, sums) for each unit of each sequence, with zero sums if the stage has no products. The blocks
// of a sub-batch meet before it multiplies.
template <class SlabProduct, class Slab, class Element>
RNNFAST_DEVICE void grid_stage(SubBatchBarrier& barrier, const FmaSlice& slice,
                               const FmaShared& shared, const Slab& slab, Index stride,
                               const Element& element) {
  constexpr bool multiplies = SlabProduct::multiplied.sums > 0;
  barrier.template wait<multiplies>();
  if constexpr (multiplies) {
    fma_product<SlabProduct>(slice, shared, slab, stride, element);
  } else {
    for_each_element(slice, [&](int b, int unit) {
      Scalar none[1];
      element(unit, b, none);
    });
  }
}

template <class Cell>
__global__ void __launch_bounds__(kThreads, 1)
    forward_grid_kernel(ForwardArgs args, GridShape shape) {
  constexpr CellInfo info = Cell::info;
  constexpr int kFirst = info.first(), kLast = info.last();
  using Element = ForwardElement<Cell>;
  RNNFAST_DYNAMIC_SHARED(memory);
  const CallSize& size = args.size;
  const FmaSlice slice = slice_of(size, shape);
  const FmaShared shared =
      load_weights<false>(memory, args.weight_hh, info.recurrent_gates(), slice, args.bfloat16);
  const Element element{args};
  const ForwardArrays<Cell> arrays{args};
  for_each_element(slice, [&](int b, int unit) {
    typename Element::template Operands<kLast> operands;
    element.begin(b, unit, operands);
    arrays.template store_operands<kLast>(size.before(size.step(0)), b, unit, operands);
  });
  SubBatchBarrier barrier(args.counters);
  for (int step = 0; step < size.steps; ++step) {
    const int t = size.step(step);
    for_each_index<info.size() - kFirst>([&]<int n>() {
      constexpr int stage = kFirst + n;
      grid_stage<ForwardSlabProduct<Cell, stage>>(
          barrier, slice, shared, [&](int i) { return arrays.template slab<stage>(i, t); },
          size.hidden,
          [&](int unit, int b, auto& sums) {
            typename Element::template Operands<stage> operands;
            element.template step<stage>({t, b, unit}, sums, operands);
            arrays.template store_operands<stage>(stage == kLast ? size.after(t) : t, b, unit,
                                                  operands);
          });
    });
  }
  __syncthreads();
  for_each_element(slice, [&](int b, int unit) { element.end(b, unit); });
}

template <class Cell>
__global__ void __launch_bounds__(kThreads, 1)
    backward_grid_kernel(BackwardArgs args, GridShape shape) {
  constexpr CellInfo info = Cell::info;
  constexpr int kFirst = info.first(), kLast = info.last();
  using Element = BackwardElement<Cell>;
  RNNFAST_DYNAMIC_SHARED(memory);
  const CallSize& size = args.size;
  const FmaSlice slice = slice_of(size, shape);
  const FmaShared shared =
      load_weights<true>(memory, args.weight_hh, info.recurrent_gates(), slice, args.bfloat16);
  const Element element{args};
  const BackwardArrays<Cell> arrays{args};
  SubBatchBarrier barrier(args.counters);
  const auto differentiate = [&]<int kStage>(int t, int b, int unit, const auto& sums) {
    typename Element::template Gates<kStage> dh;
    element.template step<kStage>({t, b, unit}, sums, dh);
    arrays.template store_gates<kStage>(t, b, unit, dh);
  };
  for_each_element(slice, [&](int b, int unit) {
    typename Element::template After<kLast> none;
#pragma unroll
    for (Scalar& gradient : none) gradient = Scalar(0.f);
    element.begin(b, unit);
    differentiate.template operator()<kLast>(size.step(size.steps - 1), b, unit, none);
  });
  for (int step = size.steps - 1; step >= 0; --step) {
    const int t = size.step(step);
    for_each_index<kLast - kFirst>([&]<int n>() {
      constexpr int stage = kLast - n;  // the previous stage takes its operands' gradients
      grid_stage<BackwardSlabProduct<Cell, stage>>(
          barrier, slice, shared, [&](int gate) { return arrays.template gate<stage>(gate, t); },
          arrays.stride(),
          [&](int unit, int b, auto& sums) {
            differentiate.template operator()<stage - 1>(t, b, unit, sums);
          });
    });
    grid_stage<BackwardSlabProduct<Cell, kFirst>>(
        barrier, slice, shared, [&](int gate) { return arrays.template gate<kFirst>(gate, t); },
        arrays.stride(),
        [&](int unit, int b, auto& sums) {
          if (step > 0)
            differentiate.template operator()<kLast>(size.step(step - 1), b, unit, sums);
          else
            element.end(b, unit, sums);
        });
  }
}

}  // namespace rnnfast::cuda
