// The functions of dense_table.h for one instruction set and one real type; those of the layers
// around recurrent ones are in headers of their own. The elementwise passes are plain loops that
// the compiler vectorises; only what needs exp is written on Vec.

#include "cpu/activation.h"
#include "cpu/convolution.h"
#include "cpu/dense_table.h"
#include "cpu/drop.h"
#include "cpu/gradient_product.h"
#include "cpu/layer_norm.h"
#include "cpu/math.h"
#include "cpu/pooling.h"
#include "cpu/probe.h"
#include "cpu/product.h"

namespace RNNFAST_ISA_NAMESPACE {
namespace {

using Real = RNNFAST_REAL;
using V = Vec<Real>;
constexpr int kWidth = kLanes<Real>;

// ---- products

long product_workspace(ProductForm form, long rows, long columns, long depth, int threads) {
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

void column_sums(const Real* x, long rows, long columns, Real* sums, long begin, long end) {
  constexpr long kColumns = 64;
  for (long first = begin; first < end; first += kColumns) {
    const long count = min_index(kColumns, end - first);
    Real partial[kColumns] = {};
    for (long n = 0; n < rows; ++n)
      for (long j = 0; j < count; ++j) partial[j] += x[n * columns + first + j];
    for (long j = 0; j < count; ++j) sums[first + j] += partial[j];
  }
}

// ---- embedding

void gather(const Real* weight, const long* indices, long width, Real* y, long begin, long end) {
  for (long n = begin; n < end; ++n)
    __builtin_memcpy(y + n * width, weight + indices[n] * width, width * sizeof(Real));
}

void scatter_add(const Real* dy, const long* indices, long rows, long width, Real* dweight,
                 long begin, long end) {
  for (long n = 0; n < rows; ++n) {
    Real* __restrict to = dweight + indices[n] * width;
    const Real* __restrict from = dy + n * width;
    for (long i = begin; i < end; ++i) to[i] += from[i];
  }
}

// ---- softmax cross-entropy

// One row of logits, read a vector at a time. Lanes past the row's end are -inf, which neither a
// maximum nor a softmax sees.
struct Row {
  const Real* x;
  long size;

  RNNFAST_INLINE V load(long i) const {
    if (size - i >= kWidth) return V::load(x + i);
    const int n = int(size - i);
    return V::lane_numbers() < n ? V::load(x + i, n).v : V(Real(-__builtin_inf())).v;
  }
};

// Folds a vector's lanes by halves: f(lanes, the lanes kDistance further on or back).
template <int kDistance, class F, int... kLane>
RNNFAST_INLINE V::Raw fold(V::Raw v, F f, Sequence<kLane...> lanes) {
  v = f(v, __builtin_shufflevector(v, v, (kLane ^ kDistance)...));
  if constexpr (kDistance > 1) return fold<kDistance / 2>(v, f, lanes);
  return v;
}
template <class F>
RNNFAST_INLINE Real folded(V::Raw v, F f) {
  return fold<kWidth / 2>(v, f, typename MakeSequence<kWidth>::type{})[0];
}

Real maximum(const Row& row) {
  const auto larger = [](V::Raw a, V::Raw b) -> V::Raw { return a > b ? a : b; };
  V::Raw m = row.load(0).v;
  for (long i = kWidth; i < row.size; i += kWidth) m = larger(row.load(i).v, m);
  return folded(m, larger);
}

// The sum of exp(x - max), which are stored in e if kStore. Lanes add up few values before they go
// into the double sum, so that its error does not grow with the number of classes.
template <bool kStore>
double exp_sum(const Row& row, Real max, Real* e) {
  constexpr long kSpan = 32 * kWidth;
  const V shift(max);
  double sum = 0;
  for (long first = 0; first < row.size; first += kSpan) {
    const long stop = min_index(first + kSpan, row.size);
    V lanes(0);
    for (long i = first; i < stop; i += kWidth) {
      const V v = exp(row.load(i) - shift);
      if constexpr (kStore) v.store(e + i, int(min_index(kWidth, stop - i)));
      lanes = lanes + v;
    }
    sum += folded(lanes.v, [](V::Raw a, V::Raw b) -> V::Raw { return a + b; });
  }
  return sum;
}

void cross_entropy(const Real* logits, const long* targets, long classes, long ignore_index,
                   Real scale, double* losses, Real* dlogits, long begin, long end) {
  for (long n = begin; n < end; ++n) {
    const Real* x = logits + n * classes;
    Real* dx = dlogits ? dlogits + n * classes : nullptr;
    const long target = targets[n];
    if (target == ignore_index) {
      losses[n] = 0;
      for (long i = 0; dx && i < classes; ++i) dx[i] = 0;
      continue;
    }
    const Row row{x, classes};
    const Real max = maximum(row);
    const double sum = dx ? exp_sum<true>(row, max, dx) : exp_sum<false>(row, max, nullptr);
    losses[n] = __builtin_log(sum) - (double(x[target]) - double(max));
    if (!dx) continue;
    const Real factor = Real(scale / sum);
    for (long i = 0; i < classes; ++i) dx[i] *= factor;
    dx[target] -= scale;
  }
}

// ---- optimisers

template <bool kFirst, bool kSecond, bool kThird, class Step>
void pass(Real* const* arrays, long n, const Step step) {
  const Real* __restrict gradient = arrays[0];
  Real* __restrict value = arrays[1];
  Real* __restrict first = arrays[2];
  Real* __restrict second = arrays[3];
  Real* __restrict third = arrays[4];
  for (long i = 0; i < n; ++i) {
    Real buffers[kStepBuffers] = {kFirst ? first[i] : 0, kSecond ? second[i] : 0,
                                  kThird ? third[i] : 0};
    step.template apply<kFirst, kSecond, kThird>(value[i], gradient[i], buffers);
    if constexpr (kFirst) first[i] = buffers[0];
    if constexpr (kSecond) second[i] = buffers[1];
    if constexpr (kThird) third[i] = buffers[2];
  }
}

void sgd(Real* const* arrays, long n, const SgdStep<Real>& step) {
  (arrays[2] ? pass<true, false, false, SgdStep<Real>>
             : pass<false, false, false, SgdStep<Real>>)(arrays, n, step);
}
void adagrad(Real* const* arrays, long n, const AdagradStep<Real>& step) {
  pass<true, false, false>(arrays, n, step);
}
void rmsprop(Real* const* arrays, long n, const RmspropStep<Real>& step) {
  using Step = RmspropStep<Real>;
  const bool centered = arrays[4];
  (arrays[3] ? (centered ? pass<true, true, true, Step> : pass<true, true, false, Step>)
             : (centered ? pass<true, false, true, Step> : pass<true, false, false, Step>))(
      arrays, n, step);
}
void adam(Real* const* arrays, long n, const AdamStep<Real>& step) {
  pass<true, true, false>(arrays, n, step);
}

// ---- clipping

// Running sums in double, so that huge gradients do not overflow and the order is fixed.
double sum_of_squares(const Real* x, long n) {
  constexpr int kSums = 32;
  double sums[kSums] = {};
  long i = 0;
  for (; i + kSums <= n; i += kSums)
    for (int k = 0; k < kSums; ++k) sums[k] += double(x[i + k]) * double(x[i + k]);
  for (int k = 0; i < n; ++i, ++k) sums[k] += double(x[i]) * double(x[i]);
  double total = 0;
  for (double s : sums) total += s;
  return total;
}

void scale(Real* x, long n, Real factor) {
  for (long i = 0; i < n; ++i) x[i] *= factor;
}

void clamp_values(Real* x, long n, Real limit) {
  for (long i = 0; i < n; ++i) x[i] = clamped(x[i], limit);
}

// ---- functions of one value: those of math.h and activations

template <V (*kFunction)(V)>
void map(const Real* x, Real* y, long n) {
  for (long i = 0; i < n; i += kWidth) {
    const int lanes = n - i < kWidth ? int(n - i) : kWidth;
    kFunction(V::load(x + i, lanes)).store(y + i, lanes);
  }
}

// dx = dy times the derivative made of what was kept.
template <V (*kDerivative)(V)>
void map_gradient(const Real* dy, const Real* kept, Real* dx, long n) {
  for (long i = 0; i < n; i += kWidth) {
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
