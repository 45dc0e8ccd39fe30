#pragma once
// Convolution over time without copying the operand's windows: a step of the result is a sum of
// products, one per tap, each with rows of the operand in place. gemm.h's blocks keep those sums in
// registers over all taps. Each element is summed in the order of taps and depth, whatever the
// number of threads and sequences.

#include "core/team.h"
#include "cpu/dense_table.h"
#include "cpu/gradient_product.h"

namespace RNNFAST_ISA_NAMESPACE {

inline constexpr Index kConvolutionRows = 96;  // of a strip, at most

RNNFAST_INLINE Index divided_up(Index a, Index b) { return a > 0 ? (a + b - 1) / b : 0; }

// The taps that a step of the result sums over, from `first` on and `step` apart. The first reads
// step `at` of the operand, and each next one `at_step` steps further on.
struct Taps {
  Index first, step, count, at, at_step;
};

// The taps of step t of y, whose operand is x.
RNNFAST_INLINE Taps taps_of_y(const ConvolutionShape& s, Index t) {
  const Index start = t * s.stride - s.padding;
  const Index first = divided_up(-start, s.dilation);
  const Index end = min_index(s.taps, divided_up(s.steps - start, s.dilation));
  return {first, 1, max_index(0, end - first), start + first * s.dilation, s.dilation};
}

// The taps of step t of dx, whose operand is dy: step (t + padding - k * dilation) / stride of y
// read it through tap k, if that is a whole number.
RNNFAST_INLINE Taps taps_of_dx(const ConvolutionShape& s, Index t) {
  Index a = s.stride, b = s.dilation;
  while (b) {
    const Index rest = a % b;
    a = b, b = rest;
  }
  const Index step = s.stride / a, back = s.dilation / a, from = t + s.padding;
  Index k = 0;
  while (k < s.taps && k < step && (from - k * s.dilation) % s.stride) ++k;
  if (k == min_index(s.taps, step)) return {};
  Index at = (from - k * s.dilation) / s.stride;
  const Index beyond = divided_up(at - s.out_steps + 1, back);
  k += beyond * step, at -= beyond * back;
  const Index count = at < 0 ? 0 : min_index(divided_up(s.taps - k, step), at / back + 1);
  return {k, step, count, at, -back};
}

// Computes y of a convolution or, if kGradient, dx: both are sums of products over taps.
template <class T, bool kGradient>
class TapProduct {
  static constexpr Index W = kLanes<T>;

 public:
  // The size in values: of the packed weight and the bias.
  static Index workspace(const ConvolutionShape& s) {
    const Index columns = kGradient ? s.inputs : s.outputs;
    return (columns + W - 1) / W * W * (s.taps * (kGradient ? s.outputs : s.inputs) + 1);
  }

  TapProduct(const ConvolutionShape& shape, const T* operand, const T* weight, const T* bias,
             T* result, const Team& team, int thread, T* workspace)
      : s_(shape),
        depth_(kGradient ? s_.outputs : s_.inputs),
        columns_(kGradient ? s_.inputs : s_.outputs),
        vectors_((columns_ + W - 1) / W),
        operand_(operand),
        weight_(weight),
        bias_(bias),
        result_(result),
        team_(team),
        thread_(thread),
        padded_bias_(workspace),
        packed_(workspace + vectors_ * W) {}

  void run() const {
    pack();
    team_.barrier();
    const Index rows = (kGradient ? s_.steps : s_.out_steps) * s_.batch;
    const Index share_rows = (rows + team_.size - 1) / team_.size;
    const Index most = max_index(kMaxBlockRows, min_index(kConvolutionRows, share_rows));
    const Index strips = (rows + most - 1) / most;
    const Range tasks = share(strips * panels(), thread_, team_.size);
    for (Index task = tasks.begin; task < tasks.end; ++task) {
      const Index strip = task / panels();
      multiply(rows * strip / strips, rows * (strip + 1) / strips, panel(task % panels()));
    }
    team_.barrier();
  }

 private:
  struct Panel {
    Index column;
    int vectors;
  };
  Index panels() const { return (vectors_ + kMaxVectors - 1) / kMaxVectors; }
  Panel panel(Index i) const {
    const Index first = vectors_ * i / panels(), next = vectors_ * (i + 1) / panels();
    return {first * W, int(next - first)};
  }
  const T* packed(const Panel& p) const { return packed_ + p.column * s_.taps * depth_; }

  void pack() const {
    if (thread_ == 0) pad_rows<T>(bias_, 0, 1, columns_, padded_bias_, vectors_ * W);
    const Index of_column = kGradient ? s_.taps : s_.inputs * s_.taps;
    const Index of_depth = kGradient ? s_.inputs * s_.taps : s_.taps;
    const Range mine = share(panels(), thread_, team_.size);
    for (Index i = mine.begin; i < mine.end; ++i) {
      const Panel p = panel(i);
      T* to = const_cast<T*>(packed(p));
      for (Index k = 0; k < s_.taps; ++k)
        for (Index d = 0; d < depth_; ++d)
          for (Index j = 0; j < p.vectors * W; ++j) {
            const Index column = p.column + j;
            *to++ = column < columns_ ? weight_[column * of_column + d * of_depth + k] : T(0);
          }
    }
  }

  Taps taps_of(Index t) const { return kGradient ? taps_of_dx(s_, t) : taps_of_y(s_, t); }

  // Computes rows [begin, end) of the result for one panel, with one call for consecutive steps
  // that read the same taps.
  void multiply(Index begin, Index end, const Panel& p) const {
    const Index onwards = kGradient ? 1 : s_.stride;
    const bool joins = s_.batch == 1 || onwards == 1;
    for (Index row = begin; row < end;) {
      const Index t = row / s_.batch;
      const Taps taps = taps_of(t);
      Index next = t + 1;
      for (; joins && next * s_.batch < end; ++next) {
        const Taps other = taps_of(next);
        if (other.first != taps.first || other.count != taps.count ||
            other.at != taps.at + (next - t) * onwards)
          break;
      }
      const Index stop = min_index(end, next * s_.batch);
      const Index at = taps.at * s_.batch + row - t * s_.batch;
      multiply_run(taps, at, s_.batch == 1 ? onwards : 1, row, stop, p);
      row = stop;
    }
  }

  // The operand's rows start at `at` and are `stride` apart.
  void multiply_run(const Taps& taps, Index at, Index stride, Index begin, Index end,
                    const Panel& p) const {
    T* c = result_ + begin * columns_ + p.column;
    const int columns = int(min_index(p.vectors * W, columns_ - p.column));
    if (taps.count == 0) {
      for (Index row = begin; row < end; ++row, c += columns_)
        for (int j = 0; j < columns; ++j) c[j] = padded_bias_[p.column + j];
      return;
    }
    const Index ldb = p.vectors * W;
    multiply_rows<T>({.a = operand_ + at * depth_,
                      .lda = stride * depth_,
                      .b = packed(p) + taps.first * depth_ * ldb,
                      .ldb = ldb,
                      .depth = depth_,
                      .parts = taps.count,
                      .a_step = taps.at_step * s_.batch * depth_,
                      .b_step = taps.step * depth_ * ldb,
                      .c = c,
                      .ldc = columns_,
                      .columns = columns,
                      .bias = padded_bias_ + p.column},
                     end - begin);
  }

  const ConvolutionShape& s_;
  const Index depth_, columns_, vectors_;
  const T *const operand_, *const weight_, *const bias_;
  T* const result_;
  const Team& team_;
  const int thread_;
  T *const padded_bias_, *const packed_;
};

// Adds to the weight's gradient: for each tap, the product of dy and the rows of x that it read.
// With a stride, these rows are first copied next to each other, by the residue of their step.
template <class T>
class TapGradient {
 public:
  static Index workspace(const ConvolutionShape& s, int threads) {
    return s.taps * s.outputs * s.inputs + copied(s) +
           GradientProduct<T>::workspace(s.outputs, s.out_steps * s.batch, threads);
  }

  TapGradient(const ConvolutionShape& shape, const T* dy, const T* x, T* dweight, const Team& team,
              int thread, T* workspace)
      : s_(shape),
        dy_(dy),
        x_(x),
        dweight_(dweight),
        team_(team),
        thread_(thread),
        sums_(workspace),
        copy_(sums_ + s_.taps * matrix()),
        scratch_(copy_ + copied(s_)) {}

  void run() const {
    const Range zeroed = share(s_.taps * matrix(), thread_, team_.size);
    for (Index i = zeroed.begin; i < zeroed.end; ++i) sums_[i] = 0;
    if (s_.stride > 1) copy();
    team_.barrier();
    for (Index k = 0; k < s_.taps; ++k) multiply(k);
    team_.barrier();
    const Range mine = share(matrix(), thread_, team_.size);
    for (Index i = mine.begin; i < mine.end; ++i)
      for (Index k = 0; k < s_.taps; ++k) dweight_[i * s_.taps + k] += sums_[k * matrix() + i];
  }

 private:
  Index matrix() const { return s_.outputs * s_.inputs; }
  Index row() const { return s_.batch * s_.inputs; }
  static Index copied_steps(const ConvolutionShape& s) { return divided_up(s.steps, s.stride); }
  static Index copied(const ConvolutionShape& s) {
    return s.stride > 1 ? s.stride * copied_steps(s) * s.batch * s.inputs : 0;
  }
  Index place(Index step) const {  // in the copy
    return (step % s_.stride * copied_steps(s_) + step / s_.stride) * row();
  }

  void copy() const {
    const Range mine = share(s_.steps, thread_, team_.size);
    for (Index t = mine.begin; t < mine.end; ++t)
      __builtin_memcpy(copy_ + place(t), x_ + t * row(), row() * sizeof(T));
  }

  void multiply(Index k) const {
    const Index start = k * s_.dilation - s_.padding;
    const Index first = divided_up(-start, s_.stride);
    const Index end = min_index(s_.out_steps, divided_up(s_.steps - start, s_.stride));
    if (end <= first) return;
    const Index at = first * s_.stride + start;
    const ProductArgs<T> args{.a = dy_ + first * s_.batch * s_.outputs,
                              .b = s_.stride > 1 ? copy_ + place(at) : x_ + at * row(),
                              .bias = nullptr,
                              .c = sums_ + k * matrix(),
                              .rows = s_.outputs,
                              .columns = s_.inputs,
                              .depth = (end - first) * s_.batch,
                              .add = true};
    GradientProduct<T>(args, team_, thread_, scratch_).run();
  }

  const ConvolutionShape& s_;
  const T *const dy_, *const x_;
  T* const dweight_;
  const Team& team_;
  const int thread_;
  T *const sums_, *const copy_, *const scratch_;
};

template <class T>
Index convolution_workspace(const ConvolutionShape& shape, int threads) {
  return max_index(
      max_index(TapProduct<T, false>::workspace(shape), TapProduct<T, true>::workspace(shape)),
      TapGradient<T>::workspace(shape, threads));
}

template <class T>
void convolution(const ConvolutionShape& shape, const T* x, const T* weight, const T* bias, T* y,
                 const Team& team, int thread, T* workspace) {
  TapProduct<T, false>(shape, x, weight, bias, y, team, thread, workspace).run();
}

template <class T>
void convolution_gradient(const ConvolutionShape& shape, const T* dy, const T* x, const T* weight,
                          T* dx, T* dweight, const Team& team, int thread, T* workspace) {
  if (dx) TapProduct<T, true>(shape, dy, weight, nullptr, dx, team, thread, workspace).run();
  if (dweight) TapGradient<T>(shape, dy, x, dweight, team, thread, workspace).run();
}

}  // namespace RNNFAST_ISA_NAMESPACE
