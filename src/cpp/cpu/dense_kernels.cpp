// The functions of dense_table.h for one instruction set and one real type; the layers around
// recurrent ones and CTC have headers of their own. The elementwise passes are plain loops that the
// compiler vectorises; only what needs exp is written on Vec.

#include "cpu/activation.h"
#include "cpu/convolution.h"
#include "cpu/ctc.h"
#include "cpu/dense_table.h"
#include "cpu/drop.h"
#include "cpu/gradient_product.h"
#include "cpu/layer_norm.h"
#include "cpu/math.h"
#include "cpu/pooling.h"
#include "cpu/probe.h"
#include "cpu/product.h"
#include "cpu/softmax.h"

namespace RNNFAST_ISA_NAMESPACE {
namespace {

using Real = RNNFAST_REAL;
using V = Vec<Real>;
constexpr int kWidth = kLanes<Real>;

// ---- products

Index product_workspace(ProductForm form, Index rows, Index columns, Index depth, int threads) {
  switch (form) {
    case ProductForm::nt:
      return MatrixProduct<Real, ProductForm::nt>::workspace(columns, depth);
    case ProductForm::nn:
      return MatrixProduct<Real, ProductForm::nn>::workspace(columns, depth);
    default:
      return GradientProduct<Real>::workspace(rows, depth, threads);
  }
}

void product(ProductForm form, const ProductArgs<Real>& args, const Team& team, int thread,
             Real* workspace) {
  switch (form) {
    case ProductForm::nt:
      return MatrixProduct<Real, ProductForm::nt>(args, team, thread, workspace).run();
    case ProductForm::nn:
      return MatrixProduct<Real, ProductForm::nn>(args, team, thread, workspace).run();
    default:
      return GradientProduct<Real>(args, team, thread, workspace).run();
  }
}

void column_sums(const Real* x, Index rows, Index columns, Real* sums, Index begin, Index end) {
  constexpr Index kColumns = 64;
  for (Index first = begin; first < end; first += kColumns) {
    const Index count = min_index(kColumns, end - first);
    Real partial[kColumns] = {};
    for (Index n = 0; n < rows; ++n)
      for (Index j = 0; j < count; ++j) partial[j] += x[n * columns + first + j];
    for (Index j = 0; j < count; ++j) sums[first + j] += partial[j];
  }
}

// ---- embedding

void gather(const Real* weight, const Index* indices, Index width, Real* y, Index begin,
            Index end) {
  for (Index n = begin; n < end; ++n)
    __builtin_memcpy(y + n * width, weight + indices[n] * width, width * sizeof(Real));
}

void scatter_add(const Real* dy, const Index* indices, Index rows, Index width, Real* dweight,
                 Index begin, Index end) {
  for (Index n = 0; n < rows; ++n) {
    Real* __restrict to = dweight + indices[n] * width;
    const Real* __restrict from = dy + n * width;
    for (Index i = begin; i < end; ++i) to[i] += from[i];
  }
}

// ---- losses

// The sum of weight[i] (x[i] - max), in double.
template <bool kWeighted>
double shifted_sum(const Real* x, const Real* weight, Index n, double max) {
  constexpr int kSums = 16;
  double sums[kSums] = {};
  const auto term = [&](Index i) { return (kWeighted ? double(weight[i]) : 1) * (x[i] - max); };
  Index i = 0;
  for (; i + kSums <= n; i += kSums)
    for (int k = 0; k < kSums; ++k) sums[k] += term(i + k);
  for (int k = 0; i < n; ++i, ++k) sums[k] += term(i);
  double total = 0;
  for (double s : sums) total += s;
  return total;
}

void cross_entropy(const CrossEntropyArgs<Real>& args, Index begin, Index end) {
  const Index classes = args.classes;
  const Real* weight = args.weight;
  const double share = args.smoothing / double(classes);  // each class's part of the target's
  for (Index n = begin; n < end; ++n) {
    const Real* x = args.logits + n * classes;
    Real* dx = args.dlogits ? args.dlogits + n * classes : nullptr;
    const Index target = args.targets[n];
    if (target == args.ignore_index) {
      args.losses[n] = 0;
      for (Index i = 0; dx && i < classes; ++i) dx[i] = 0;
      continue;
    }
    const Row<Real> row{x, classes};
    const Real max = maximum(row);
    const double sum = dx ? exp_sum<true>(row, max, dx) : exp_sum<false>(row, max, dx);
    const double log_sum = __builtin_log(sum);
    const double own = (1 - args.smoothing) * (weight ? double(weight[target]) : 1);
    double loss = own * (log_sum - (double(x[target]) - double(max)));
    if (share > 0)
      loss += share *
              (args.weight_sum * log_sum - (weight ? shifted_sum<true>(x, weight, classes, max)
                                                   : shifted_sum<false>(x, nullptr, classes, max)));
    args.losses[n] = loss;
    if (!dx) continue;
    const Real factor = Real(args.scale * (own + share * args.weight_sum) / sum);
    for (Index i = 0; i < classes; ++i) dx[i] *= factor;
    const Real spread = Real(args.scale * share);
    for (Index i = 0; share > 0 && i < classes; ++i) dx[i] -= spread * (weight ? weight[i] : 1);
    dx[target] -= Real(args.scale * own);
  }
}

double ctc(const CtcArgs<Real>& args, double* workspace) {
  return Ctc<Real>(args, workspace).run();
}

// ---- optimisers

template <bool kFirst, bool kSecond, bool kThird, class Step>
void pass(Real* const* arrays, Index n, const Step step) {
  const Real* __restrict gradient = arrays[0];
  Real* __restrict value = arrays[1];
  Real* __restrict first = arrays[2];
  Real* __restrict second = arrays[3];
  Real* __restrict third = arrays[4];
  for (Index i = 0; i < n; ++i) {
    Real buffers[kStepBuffers] = {kFirst ? first[i] : 0, kSecond ? second[i] : 0,
                                  kThird ? third[i] : 0};
    step.template apply<kFirst, kSecond, kThird>(value[i], gradient[i], buffers);
    if constexpr (kFirst) first[i] = buffers[0];
    if constexpr (kSecond) second[i] = buffers[1];
    if constexpr (kThird) third[i] = buffers[2];
  }
}

void sgd(Real* const* arrays, Index n, const SgdStep<Real>& step) {
  (arrays[2] ? pass<true, false, false, SgdStep<Real>>
             : pass<false, false, false, SgdStep<Real>>)(arrays, n, step);
}
void adagrad(Real* const* arrays, Index n, const AdagradStep<Real>& step) {
  pass<true, false, false>(arrays, n, step);
}
void rmsprop(Real* const* arrays, Index n, const RmspropStep<Real>& step) {
  using Step = RmspropStep<Real>;
  const bool centered = arrays[4];
  (arrays[3] ? (centered ? pass<true, true, true, Step> : pass<true, true, false, Step>)
             : (centered ? pass<true, false, true, Step> : pass<true, false, false, Step>))(
      arrays, n, step);
}
void adam(Real* const* arrays, Index n, const AdamStep<Real>& step) {
  pass<true, true, false>(arrays, n, step);
}

// ---- clipping

// Running sums in double, so that huge gradients do not overflow and the order is fixed.
double sum_of_squares(const Real* x, Index n) {
  constexpr int kSums = 32;
  double sums[kSums] = {};
  Index i = 0;
  for (; i + kSums <= n; i += kSums)
    for (int k = 0; k < kSums; ++k) sums[k] += double(x[i + k]) * double(x[i + k]);
  for (int k = 0; i < n; ++i, ++k) sums[k] += double(x[i]) * double(x[i]);
  double total = 0;
  for (double s : sums) total += s;
  return total;
}

void scale(Real* x, Index n, Real factor) {
  for (Index i = 0; i < n; ++i) x[i] *= factor;
}

void clamp_values(Real* x, Index n, Real limit) {
  for (Index i = 0; i < n; ++i) x[i] = clamped(x[i], limit);
}

// ---- functions of one value: those of math.h and activations

template <V (*kFunction)(V)>
void map(const Real* x, Real* y, Index n) {
  for (Index i = 0; i < n; i += kWidth) {
    const int lanes = n - i < kWidth ? int(n - i) : kWidth;
    kFunction(V::load(x + i, lanes)).store(y + i, lanes);
  }
}

// dx = dy times the derivative, computed from `kept`.
template <V (*kDerivative)(V)>
void map_gradient(const Real* dy, const Real* kept, Real* dx, Index n) {
  for (Index i = 0; i < n; i += kWidth) {
    const int lanes = n - i < kWidth ? int(n - i) : kWidth;
    const V d = V::load(dy + i, lanes) * kDerivative(V::load(kept + i, lanes));
    d.store(dx + i, lanes);
  }
}

}  // namespace

const DenseKernels<Real>& dense_kernels(Real) {
  static constexpr DenseKernels<Real> table{
      product_workspace,
      product,
      column_sums,
      gather,
      scatter_add,
      cross_entropy,
      Ctc<Real>::workspace,
      ctc,
      drop<Real>,
      {map<tanh>, map<sigmoid>, map<relu>, map<gelu>, map<gelu_tanh>, map<silu>},
      {map_gradient<dtanh>, map_gradient<dsigmoid>, map_gradient<drelu>, map_gradient<dgelu>,
       map_gradient<dgelu_tanh>, map_gradient<dsilu>},
      layer_norm<Real>,
      layer_norm_dx<Real>,
      layer_norm_dweight<Real>,
      convolution_workspace<Real>,
      convolution<Real>,
      convolution_gradient<Real>,
      mean_pool<Real>,
      max_pool<Real>,
      sgd,
      adagrad,
      rmsprop,
      adam,
      sum_of_squares,
      scale,
      clamp_values,
      map<exp>,
      map<sigmoid>,
      map<tanh>,
      map<log>,
      map<softplus>,
      map<erf>,
      probe_read<Real>};
  return table;
}

}  // namespace RNNFAST_ISA_NAMESPACE
