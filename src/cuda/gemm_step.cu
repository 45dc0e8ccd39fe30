// The fallback for sizes whose weights fit on no chip: a step is a matrix product for each operand
// and a pointwise kernel, all in the order of the stream.

#include "cells/registry.h"
#include "cuda/element.cuh"
#include "cuda/gemm.h"
#include "cuda/global_arrays.cuh"
#include "cuda/graph.cuh"
#include "cuda/recurrent_launch.h"
#include "cuda/resources.h"

namespace rnnfast::cuda {
namespace stepwise {  // with a name, so that kernels can be found by theirs

// Thread i has unit i % H of sequence i / H.
struct Index {
  int b, unit;

  RNNFAST_DEVICE explicit Index(const CallSize& size) {
    const long i = long(blockIdx.x) * kThreads + threadIdx.x;
    b = int(i / size.hidden);
    unit = int(i % size.hidden);
  }
  RNNFAST_DEVICE bool exists(const CallSize& size) const { return b < size.batch; }
};

// kSums sums of one sequence, as the products left them: (B, kSums, H).
template <int kSums>
RNNFAST_DEVICE void load_sums(const float* sums, const CallSize& size, Index i,
                              Scalar (&values)[kSums]) {
  load<kSums>(sums + long(i.b) * kSums * size.hidden + i.unit, size.hidden, values);
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_begin(ForwardArgs args) {
  const Index i(args.size);
  if (!i.exists(args.size)) return;
  Scalar operands[Cell::info.operands];
  ForwardElement<Cell>{args}.begin(i.b, i.unit, operands);
  ForwardArrays<Cell>{args}.store_operands(args.size.before(args.size.step(0)), i.b, i.unit,
                                           operands);
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_first(ForwardArgs args, int t) {
  const Index i(args.size);
  if (!i.exists(args.size)) return;
  Scalar sums[Cell::info.h_gates()];
  load_sums(args.sums, args.size, i, sums);
  const ForwardElement<Cell> element{args};
  const ForwardArrays<Cell> arrays{args};
  if constexpr (Cell::info.second_gates > 0) {
    Scalar q;
    element.first({t, i.b, i.unit}, sums, q);
    arrays.store_second(t, i.b, i.unit, q);
  } else {
    Scalar operands[Cell::info.operands];
    element.step({t, i.b, i.unit}, sums, operands);
    arrays.store_operands(args.size.after(t), i.b, i.unit, operands);
  }
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_second(ForwardArgs args, int t) {
  const Index i(args.size);
  if (!i.exists(args.size)) return;
  if constexpr (Cell::info.second_gates > 0) {
    Scalar sums[Cell::info.second_gates], operands[Cell::info.operands];
    load_sums(args.sums, args.size, i, sums);
    ForwardElement<Cell>{args}.second({t, i.b, i.unit}, sums, operands);
    ForwardArrays<Cell>{args}.store_operands(args.size.after(t), i.b, i.unit, operands);
  }
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_end(ForwardArgs args) {
  const Index i(args.size);
  if (i.exists(args.size)) ForwardElement<Cell>{args}.end(i.b, i.unit);
}

// Of the step that `phase` others follow; before the first, sums are zero.
template <class Cell>
__global__ void __launch_bounds__(kThreads) backward_first(BackwardArgs args, int phase) {
  constexpr CellInfo info = Cell::info;
  const CallSize& size = args.size;
  const Index i(size);
  if (!i.exists(size)) return;
  const BackwardElement<Cell> element{args};
  Scalar sums[info.operands];
  if (phase > 0) {
    load_sums(args.sums, size, i, sums);
  } else {
#pragma unroll
    for (int o = 0; o < info.operands; ++o) sums[o] = Scalar(0.f);
    element.begin(i.b, i.unit);
  }
  if (phase == size.steps) return element.end(i.b, i.unit, sums);
  const int t = size.step(size.steps - 1 - phase);
  Scalar dh[info.gates];
  element.step({t, i.b, i.unit}, sums, dh);
  BackwardArrays<Cell>{args}
      .template store_gates<info.second_gates ? info.h_gates() : 0, info.gates>(t, i.b, i.unit, dh);
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) backward_second(BackwardArgs args, int t) {
  constexpr CellInfo info = Cell::info;
  const Index i(args.size);
  if (!i.exists(args.size)) return;
  if constexpr (Cell::info.second_gates > 0) {
    Scalar sums[1], dh[info.gates];
    load_sums(args.sums, args.size, i, sums);
    BackwardElement<Cell>{args}.second({t, i.b, i.unit}, sums[0], dh);
    BackwardArrays<Cell>{args}.template store_gates<0, info.h_gates()>(t, i.b, i.unit, dh);
  }
}

struct Stream {
  const CallSize& size;
  bool bfloat16;
  cudaStream_t stream;

  template <class Kernel, class... Args>
  void run(Kernel kernel, const Args&... args) const {
    launch(
        {.grid = blocks_for(size.row(size.batch), kThreads), .block = kThreads, .stream = stream},
        kernel, args...);
  }

  // sums (B, ldc) = a (B, k; lda) times rows of weight_hh: transposed (n, k) or as they are (k, n).
  void product(const float* a, int lda, const float* weights, bool transpose, int n, int k,
               float* sums, int ldc) const {
    gemm({.transpose_a = false,
          .transpose_b = transpose,
          .m = size.batch,
          .n = n,
          .k = k,
          .lda = lda,
          .ldb = size.hidden,
          .ldc = ldc,
          .beta = 0,
          .bfloat16 = bfloat16},
         a, weights, nullptr, sums, stream);
  }
};

template <class Cell>
void take_steps(const ForwardArgs& args, const Stream& stream) {
  constexpr CellInfo info = Cell::info;
  const CallSize& size = args.size;
  const int H = size.hidden;
  const ForwardArrays<Cell> arrays{args};
  stream.run(forward_begin<Cell>, args);
  for (int step = 0; step < size.steps; ++step) {
    const int t = size.step(step);
    int gate = 0;
    for (int o = 0; o < info.operands; ++o) {
      const int gates = info.operand_gates(o);
      stream.product(arrays.operand(o, size.before(t)), H, args.weight_hh + long(gate) * H * H,
                     true, gates * H, H, args.sums + gate * H, info.h_gates() * H);
      gate += gates;
    }
    stream.run(forward_first<Cell>, args, t);
    if constexpr (info.second_gates > 0) {
      stream.product(arrays.second(t), H, args.weight_hh + long(gate) * H * H, true,
                     info.second_gates * H, H, args.sums, info.second_gates * H);
      stream.run(forward_second<Cell>, args, t);
    }
  }
  stream.run(forward_end<Cell>, args);
}

template <class Cell>
void take_steps(const BackwardArgs& args, const Stream& stream) {
  constexpr CellInfo info = Cell::info;
  const CallSize& size = args.size;
  const int H = size.hidden, lda = info.gates * H;
  const BackwardArrays<Cell> arrays{args};
  stream.run(backward_first<Cell>, args, 0);
  for (int phase = 0; phase < size.steps; ++phase) {
    const int t = size.step(size.steps - 1 - phase);
    if constexpr (info.second_gates > 0) {
      stream.product(arrays.gate(info.h_gates(), t), lda,
                     args.weight_hh + long(info.h_gates()) * H * H, false, H, info.second_gates * H,
                     args.sums, H);
      stream.run(backward_second<Cell>, args, t);
    }
    int gate = 0;
    for (int o = 0; o < info.operands; ++o) {
      const int gates = info.operand_gates(o);
      stream.product(arrays.gate(gate, t), lda, args.weight_hh + long(gate) * H * H, false, H,
                     gates * H, args.sums + o * H, info.operands * H);
      gate += gates;
    }
    stream.run(backward_first<Cell>, args, phase + 1);
  }
}

template <class Args, class... Cell>
void take_steps_of(TypeList<Cell...>, int cell, const Args& args, const Stream& stream) {
  static constexpr void (*functions[])(const Args&, const Stream&) = {&take_steps<Cell>...};
  functions[cell](args, stream);
}

template <class Args>
void run(int cell, Products, const Plan&, const Args& args, cudaStream_t stream) {
  const Stream steps{args.size, args.bfloat16, stream};
  as_graph(stream, [&] { take_steps_of(Cells{}, cell, args, steps); });
}

}  // namespace stepwise

const RecurrentKernel gemm_step{&stepwise::run<ForwardArgs>, &stepwise::run<BackwardArgs>};

}  // namespace rnnfast::cuda
