// The fallback for sizes whose weights do not fit on the chip: a step is a matrix product per
// operand and a pointwise kernel, launched in order on the stream.

#include "cuda/ahead.h"
#include "cuda/gemm.h"
#include "cuda/graph.cuh"
#include "cuda/recurrent_launch.h"
#include "cuda/row_blocks.h"
#include "cuda/stepwise_kernels.cuh"

namespace rnnfast::cuda {
namespace {

class Stepper {
 public:
  Stepper(const Functions& functions, const CellInfo& info, const CallSize& size, bool bfloat16,
          cudaStream_t stream)
      : functions_(functions), info_(info), size_(size), bfloat16_(bfloat16), stream_(stream) {}

  void take(const ForwardArgs& args) const {
    run(0, args);
    for (int step = 0; step < size_.steps; ++step) {
      const int t = size_.step(step);
      for (int k = info_.first(); k < info_.size(); ++k) {
        multiply_operands(args, k, t);
        run(2 + k - info_.first(), args, t);
      }
    }
    run(1, args);
  }
  void take(const BackwardArgs& args) const {
    run(0, args, 0);
    for (int phase = 0; phase < size_.steps; ++phase) {
      const int t = size_.step(size_.steps - 1 - phase);
      for (int k = info_.last(); k > info_.first(); --k) {
        multiply_gates(args, k, t);
        run(1 + k - 1 - info_.first(), args, t);
      }
      multiply_gates(args, info_.first(), t);
      run(0, args, phase + 1);
    }
  }

 private:
  template <class... Args>
  void run(int function, const Args&... args) const {
    const Launch shape{
        .grid = blocks_for(size_.row(size_.batch), kThreads), .block = kThreads, .stream = stream_};
    launch(shape, reinterpret_cast<void (*)(Args...)>(functions_.at(std::size_t(function))),
           args...);
  }

  // Computes the sums of a stage from its operands in step t.
  void multiply_operands(const ForwardArgs& args, int k, int t) const {
    const int H = size_.hidden, opening = info_.opening_values();
    const Multiplied stage(info_, k);
    for_each_run(info_, k, [&](int slab, int sum, const Run& run) {
      const int number = stage.operand[slab], at = number <= opening ? size_.before(t) : t;
      product(args.operand(opening, number, at), H, args.weight_hh + Index(run.block) * H * H, true,
              run.count * H, H, 0, args.sums + sum * H, stage.sums * H);
    });
  }
  // Computes the gradients of a stage's operands from those of its gates in step t.
  void multiply_gates(const BackwardArgs& args, int k, int t) const {
    const int H = size_.hidden;
    const Multiplied stage(info_, k);
    unsigned begun = 0;
    for_each_run(info_, k, [&](int slab, int, const Run& run) {
      product(args.gate(info_.gates, run.gate, t), info_.gates * H,
              args.weight_hh + Index(run.block) * H * H, false, H, run.count * H,
              begun >> slab & 1 ? 1.f : 0.f, args.sums + slab * H, stage.slabs * H);
      begun |= 1u << slab;
    });
  }
  // sums (B, ldc) = beta * sums + a (B, k; lda) times rows of weight_hh: transposed (n, k) or as
  // they are (k, n).
  void product(const float* a, int lda, const float* weights, bool transpose, int n, int k,
               float beta, float* sums, int ldc) const {
    gemm({.transpose_a = false,
          .transpose_b = transpose,
          .m = size_.batch,
          .n = n,
          .k = k,
          .lda = lda,
          .ldb = size_.hidden,
          .ldc = ldc,
          .beta = beta,
          .bfloat16 = bfloat16_},
         a, weights, nullptr, sums, stream_);
  }

  const Functions& functions_;
  const CellInfo& info_;
  const CallSize& size_;
  const bool bfloat16_;
  const cudaStream_t stream_;
};

template <class Args>
void run(const Functions& functions, const CellInfo& info, const Plan&, const Args& args,
         cudaStream_t stream) {
  const Stepper steps(functions, info, args.size, args.bfloat16, stream);
  as_graph(stream, [&] { steps.take(args); });
}

// In the order of function_names.
template <class Cell>
Functions functions_of(Pass pass) {
  constexpr int kFirst = Cell::info.first(), kLast = Cell::info.last();
  Functions found;
  if (pass == Pass::forward) {
    found = {address(&stepwise::forward_begin<Cell>), address(&stepwise::forward_end<Cell>)};
    for_each_index<kLast - kFirst + 1>(
        [&]<int n>() { found.push_back(address(&stepwise::forward_stage<Cell, kFirst + n>)); });
  } else {
    found = {address(&stepwise::backward_last<Cell>)};
    for_each_index<kLast - kFirst>(
        [&]<int n>() { found.push_back(address(&stepwise::backward_stage<Cell, kFirst + n>)); });
  }
  return found;
}
template <class... Cell>
Functions functions_of(TypeList<Cell...>, int place, Pass pass) {
  static constexpr Functions (*of[])(Pass) = {&functions_of<Cell>...};
  return of[place](pass);
}
Functions ahead(int place, Pass pass, bool) { return functions_of(AheadCells{}, place, pass); }

}  // namespace

const RecurrentKernel gemm_step{&run<ForwardArgs>, &run<BackwardArgs>, &ahead};

}  // namespace rnnfast::cuda
