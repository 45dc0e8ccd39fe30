#pragma once
// The persistent kernels that run on every device and that the others are compared with: blocks
// share the hidden units of a tile of the batch (blockIdx.x: slice of units, blockIdx.y: tile), keep
// their weights in shared memory, exchange operands through global memory and meet once a step, or
// twice with a second product. With one slice a block has all units and waits for nobody.

#include "cuda/element.cuh"
#include "cuda/fma_product.cuh"

namespace rnnfast::cuda {

// How a launch shares the work; the grid is (slices, tiles).
struct GridShape {
  int units;  // of a slice, but for the last
  int rows;   // of a tile, but for the last
};

// All threads of the blocks of a batch tile. Their grid must be resident as a whole.
class TileBarrier {
 public:
  RNNFAST_DEVICE explicit TileBarrier(unsigned* counters) : counter_(counters + blockIdx.y) {}

  RNNFAST_DEVICE void wait() {
    __syncthreads();
    if (gridDim.x == 1) return;
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

// The arrays through which blocks hand on what others multiply.
template <class Cell>
struct GlobalForward {
  const ForwardArgs& args;

  RNNFAST_DEVICE float* operand(int o, int slot) const {
    return o == 0 ? args.states + args.size.row(0, slot, 0)
                  : args.operands + args.size.row(o - 1, slot, 0);
  }
  RNNFAST_DEVICE void store_operands(int slot, int b, int unit,
                                     const Scalar (&v)[Cell::info.operands]) const {
#pragma unroll
    for (int o = 0; o < Cell::info.operands; ++o)
      operand(o, slot)[args.size.row(b) + unit] = v[o].value;
  }
  RNNFAST_DEVICE void store_second(int t, int b, int unit, Scalar q) const {
    args.second[args.size.row(t, b) + unit] = q.value;
  }
};
template <class Cell>
struct GlobalBackward {
  const BackwardArgs& args;

  RNNFAST_DEVICE float* gate(int gate, int t) const {
    return args.dgates_h + args.size.row(t, 0) * Cell::info.gates + long(gate) * args.size.hidden;
  }
  template <int kFirst, int kEnd>
  RNNFAST_DEVICE void store_gates(int t, int b, int unit,
                                  const Scalar (&dh)[Cell::info.gates]) const {
    store<kEnd - kFirst>(dh + kFirst, args.size.hidden,
                         gate(kFirst, t) + args.size.row(b) * Cell::info.gates + unit);
  }
};

// Calls element(b, unit) for all of the block.
template <class Element>
RNNFAST_DEVICE void for_each_element(const FmaSlice& slice, const Element& element) {
  for (int i = threadIdx.x; i < slice.units * slice.rows; i += kFmaThreads)
    element(slice.first_row + i / slice.units, slice.first_unit + i % slice.units);
}

template <class Cell, bool kBf16>
__global__ void __launch_bounds__(kFmaThreads)
    forward_grid_kernel(ForwardArgs args, GridShape shape) {
  constexpr CellInfo info = Cell::info;
  using Element = ForwardElement<Cell>;
  RNNFAST_DYNAMIC_SHARED(memory);
  const CallSize& size = args.size;
  const FmaSlice slice = slice_of(size, shape);
  const FmaShared shared = load_weights<false, kBf16>(memory, args.weight_hh, info.gates, slice);
  const Element element{args};
  const GlobalForward<Cell> global{args};
  for_each_element(slice, [&](int b, int unit) {
    typename Element::Operands operands;
    element.begin(b, unit, operands);
    global.store_operands(size.before(size.step(0)), b, unit, operands);
  });
  TileBarrier barrier(args.counters);
  for (int step = 0; step < size.steps; ++step) {
    const int t = size.step(step);
    barrier.wait();
    fma_product<ForwardFirst<Cell>, kBf16>(
        slice, shared, [&](int o) { return global.operand(o, size.before(t)); }, size.hidden,
        [&](int unit, int b, auto& sums) {
          if constexpr (Cell::info.second_gates > 0) {
            Scalar q;
            element.first({t, b, unit}, sums, q);
            global.store_second(t, b, unit, q);
          } else {
            typename Element::Operands operands;
            element.step({t, b, unit}, sums, operands);
            global.store_operands(size.after(t), b, unit, operands);
          }
        });
    if constexpr (Cell::info.second_gates > 0) {
      barrier.wait();
      fma_product<ForwardSecond<Cell>, kBf16>(
          slice, shared, [&](int) { return args.second + size.row(t, 0); }, size.hidden,
          [&](int unit, int b, auto& sums) {
            typename Element::Operands operands;
            element.second({t, b, unit}, sums, operands);
            global.store_operands(size.after(t), b, unit, operands);
          });
    }
  }
  __syncthreads();
  for_each_element(slice, [&](int b, int unit) { element.end(b, unit); });
}

template <class Cell, bool kBf16>
__global__ void __launch_bounds__(kFmaThreads)
    backward_grid_kernel(BackwardArgs args, GridShape shape) {
  constexpr CellInfo info = Cell::info;
  using Element = BackwardElement<Cell>;
  RNNFAST_DYNAMIC_SHARED(memory);
  const CallSize& size = args.size;
  const FmaSlice slice = slice_of(size, shape);
  const FmaShared shared = load_weights<true, kBf16>(memory, args.weight_hh, info.gates, slice);
  const Element element{args};
  const GlobalBackward<Cell> global{args};
  TileBarrier barrier(args.counters);
  const long stride = long(info.gates) * size.hidden;
  const auto differentiate = [&](int t, int b, int unit, const typename Element::Operands& dv) {
    typename Element::Gates dh;
    element.step({t, b, unit}, dv, dh);
    global.template store_gates<info.second_gates ? info.h_gates() : 0, info.gates>(t, b, unit, dh);
  };
  for_each_element(slice, [&](int b, int unit) {
    typename Element::Operands none;
#pragma unroll
    for (int o = 0; o < info.operands; ++o) none[o] = Scalar(0.f);
    element.begin(b, unit);
    differentiate(size.step(size.steps - 1), b, unit, none);
  });
  for (int step = size.steps - 1; step >= 0; --step) {
    const int t = size.step(step);
    barrier.wait();
    if constexpr (info.second_gates > 0) {
      fma_product<BackwardSecond<Cell>, kBf16>(
          slice, shared, [&](int gate) { return global.gate(info.h_gates() + gate, t); }, stride,
          [&](int unit, int b, auto& sums) {
            typename Element::Gates dh;
            element.second({t, b, unit}, sums[0], dh);
            global.template store_gates<0, info.h_gates()>(t, b, unit, dh);
          });
      barrier.wait();
    }
    fma_product<BackwardFirst<Cell>, kBf16>(
        slice, shared, [&](int gate) { return global.gate(gate, t); }, stride,
        [&](int unit, int b, auto& sums) {
          if (step > 0)
            differentiate(size.step(step - 1), b, unit, sums);
          else
            element.end(b, unit, sums);
        });
  }
}

}  // namespace rnnfast::cuda
