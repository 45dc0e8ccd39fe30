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
  constexpr int kLast = Cell::info.last();
  typename ForwardElement<Cell>::template Operands<kLast> operands;
  ForwardElement<Cell>{args}.begin(i.b, i.unit, operands);
  ForwardArrays<Cell>{args}.template store_operands<kLast>(args.size.before(args.size.step(0)), i.b,
                                                           i.unit, operands);
}

template <class Cell, int kStage>
__global__ void __launch_bounds__(kThreads) forward_stage(ForwardArgs args, int t) {
  using Element = ForwardElement<Cell>;
  const Index i(args.size);
  if (!i.exists(args.size)) return;
  typename Element::template Sums<kStage> sums;
  typename Element::template Operands<kStage> operands;
  load_sums(args.sums, args.size, i, sums);
  Element{args}.template step<kStage>({t, i.b, i.unit}, sums, operands);
  ForwardArrays<Cell>{args}.template store_operands<kStage>(
      kStage == Cell::info.last() ? args.size.after(t) : t, i.b, i.unit, operands);
}

template <class Cell>
__global__ void __launch_bounds__(kThreads) forward_end(ForwardArgs args) {
  const Index i(args.size);
  if (i.exists(args.size)) ForwardElement<Cell>{args}.end(i.b, i.unit);
}

// The last stage of the step that `phase` others follow; before the first, sums are zero.
template <class Cell>
__global__ void __launch_bounds__(kThreads) backward_last(BackwardArgs args, int phase) {
  using Element = BackwardElement<Cell>;
  constexpr int kLast = Cell::info.last();
  const CallSize& size = args.size;
  const Index i(size);
  if (!i.exists(size)) return;
  const Element element{args};
  typename Element::template Operands<kLast> sums;
  if (phase > 0) {
    load_sums(args.sums, size, i, sums);
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
  const Index i(args.size);
  if (!i.exists(args.size)) return;
  typename Element::template Operands<kStage> sums;
  typename Element::template Gates<kStage> dh;
  load_sums(args.sums, args.size, i, sums);
  Element{args}.template step<kStage>({t, i.b, i.unit}, sums, dh);
  BackwardArrays<Cell>{args}.template store_gates<kStage>(t, i.b, i.unit, dh);
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
  constexpr int kFirst = info.first();
  const CallSize& size = args.size;
  const int H = size.hidden;
  const ForwardArrays<Cell> arrays{args};
  stream.run(forward_begin<Cell>, args);
  for (int step = 0; step < size.steps; ++step) {
    const int t = size.step(step);
    for_each_index<info.size() - kFirst>([&]<int n>() {
      constexpr int kStage = kFirst + n, kMaker = n == 0 ? info.last() : kStage - 1;
      constexpr Stage stage = info.stages[kStage];
      for (int i = 0; i < stage.size(); ++i) {
        const Span gates = stage.products[i].gates;
        stream.product(arrays.template operand<kMaker>(i, n == 0 ? size.before(t) : t), H,
                       args.weight_hh + long(gates.first) * H * H, true, gates.count * H, H,
                       args.sums + (gates.first - stage.gates.first) * H, stage.gates.count * H);
      }
      stream.run(forward_stage<Cell, kStage>, args, t);
    });
  }
  stream.run(forward_end<Cell>, args);
}

// Gradients of a stage's operands, out of those of its gates in step t.
template <class Cell, int kStage>
void multiply_gates(const BackwardArgs& args, const Stream& stream, int t) {
  constexpr Stage stage = Cell::info.stages[kStage];
  const int H = args.size.hidden;
  const BackwardArrays<Cell> arrays{args};
  for (int i = 0; i < stage.size(); ++i) {
    const Span gates = stage.products[i].gates;
    stream.product(arrays.template gate<kStage>(gates.first - stage.gates.first, t),
                   Cell::info.gates * H, args.weight_hh + long(gates.first) * H * H, false, H,
                   gates.count * H, args.sums + i * H, stage.size() * H);
  }
}

template <class Cell>
void take_steps(const BackwardArgs& args, const Stream& stream) {
  constexpr int kFirst = Cell::info.first(), kLast = Cell::info.last();
  const CallSize& size = args.size;
  stream.run(backward_last<Cell>, args, 0);
  for (int phase = 0; phase < size.steps; ++phase) {
    const int t = size.step(size.steps - 1 - phase);
    for_each_index<kLast - kFirst>([&]<int n>() {
      multiply_gates<Cell, kLast - n>(args, stream, t);
      stream.run(backward_stage<Cell, kLast - n - 1>, args, t);
    });
    multiply_gates<Cell, kFirst>(args, stream, t);
    stream.run(backward_last<Cell>, args, phase + 1);
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
