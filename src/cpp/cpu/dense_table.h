#pragma once
// The work outside the recurrent layers: products, embedding, the other layers, losses, optimisers,
// clipping. One table of functions per instruction set and real type. A function does its share of
// the work on the calling thread; how the work is shared never changes a result.

#include "core/dropout.h"
#include "core/index.h"
#include "core/optimiser.h"
#include "core/team.h"

namespace rnnfast {

// Whole row-major matrices without gaps: C (rows, columns) (+)= op(A) op(B) [+ bias].
template <class T>
struct ProductArgs {
  const T* a;
  const T* b;
  const T* bias;  // (columns,) or null
  T* c;
  Index rows, columns, depth;
  bool add;  // to C instead of overwriting it
};
enum class ProductForm {
  nt,  // A (rows, depth), B (columns, depth)
  nn,  // A (rows, depth), B (depth, columns)
  tn,  // A (depth, rows), B (depth, columns)
};

// Softmax cross-entropy. With class weights w (1 if null) and a smoothing s, row n has the loss
//   sum over c of a[c] (logsumexp(x[n]) - x[n][c]),
//   a[c] = (1 - s) w[c] [c = targets[n]] + s / classes w[c],
// and its gradient times `scale` in dlogits, unless that is null. Both are 0 where targets[n] is
// ignored.
template <class T>
struct CrossEntropyArgs {
  const T* logits;
  const Index* targets;
  Index classes, ignore_index;
  const T* weight;
  double smoothing;
  double weight_sum;  // of all classes
  T scale;
  double* losses;
  T* dlogits;
};

// One sequence's CTC loss: -log of the probability of its labels, by the softmax of its logits.
template <class T>
struct CtcArgs {
  const T* logits;
  Index stride;            // between steps, of dlogits as well
  Index steps, all_steps;  // of the sequence; of the arrays, with a gradient of 0 past the sequence
  Index classes;
  const Index* targets;
  Index labels;
  Index blank;
  double scale;        // of the gradient
  bool zero_infinity;  // an infinite loss counts as 0; otherwise it has a gradient of NaN
  T* dlogits;
};

// The equally sized arrays of an optimiser's step: gradients, values and the step's buffers; an
// unused one is null.
inline constexpr int kStepArrays = 2 + kStepBuffers;

// Functions of one value. The derivatives of the first three are computed from the function's
// value, the others from its argument.
enum class Activation { tanh, sigmoid, relu, gelu, gelu_tanh, silu };
inline constexpr int kActivations = 6;

// Rows are normalised to mean 0 and variance 1, then scaled and shifted.
template <class T>
struct LayerNormArgs {
  const T* x;       // (rows, width)
  const T* weight;  // (width,)
  const T* bias;    // (width,) or null
  Index rows, width;
  double eps;  // added to the variance
};

// y[t] = bias + the sum over taps k of weight[:, :, k] x[t * stride + k * dilation - padding], for
// each sequence of a batch. Steps of x out of range are zeros.
struct ConvolutionShape {
  Index steps, out_steps;              // of x and of y
  Index batch, inputs, outputs, taps;  // x (steps, batch, inputs), weight (outputs, inputs, taps)
  Index stride, dilation, padding;     // padding counts steps before the first one
};

template <class T>
struct DenseKernels {
  // The whole team runs a product together and shares its workspace of `product_workspace` values
  // of T. When a product returns, all threads are done with it, except for form tn, which does not
  // wait.
  Index (*product_workspace)(ProductForm form, Index rows, Index columns, Index depth, int threads);
  void (*product)(ProductForm form, const ProductArgs<T>& args, const Team& team, int thread,
                  T* workspace);
  // sums[j] += the sum of x[n][j] over all rows, for columns [begin, end).
  void (*column_sums)(const T* x, Index rows, Index columns, T* sums, Index begin, Index end);
  // y[n] = weight[indices[n]] for n in [begin, end), rows of `width` values.
  void (*gather)(const T* weight, const Index* indices, Index width, T* y, Index begin, Index end);
  // dweight[indices[n]] += dy[n] for n = 0 .. rows-1 in that order, columns [begin, end).
  void (*scatter_add)(const T* dy, const Index* indices, Index rows, Index width, T* dweight,
                      Index begin, Index end);
  // Rows [begin, end).
  void (*cross_entropy)(const CrossEntropyArgs<T>& args, Index begin, Index end);
  // Returns the loss; the workspace has `ctc_workspace` doubles.
  Index (*ctc_workspace)(Index steps, Index labels, Index classes);
  double (*ctc)(const CtcArgs<T>& args, double* workspace);
  // to[i] = from[i] with dropout, for the n elements numbered from `first` on. May work in place.
  void (*dropout)(const T* from, Index first, Index n, const Dropout<T>& dropout, T* to);
  // Activations of n elements, indexed by Activation, and their gradients: dx[i] = dy[i] * the
  // derivative, computed from kept[i], the function's value or argument. Both may work in place.
  void (*activation[kActivations])(const T* x, T* y, Index n);
  void (*activation_gradient[kActivations])(const T* dy, const T* kept, T* dx, Index n);
  // Rows [begin, end) of y and, unless `moments` is null, each row's mean and 1 / deviation.
  void (*layer_norm)(const LayerNormArgs<T>& args, T* y, T* moments, Index begin, Index end);
  // The first computes rows [begin, end) of dx. The second adds to columns [begin, end) of dweight
  // and dbias, unless they are null.
  void (*layer_norm_dx)(const LayerNormArgs<T>& args, const T* moments, const T* dy, T* dx,
                        Index begin, Index end);
  void (*layer_norm_dweight)(const LayerNormArgs<T>& args, const T* moments, const T* dy,
                             T* dweight, T* dbias, Index begin, Index end);
  // The whole team runs a convolution together and shares its workspace of `convolution_workspace`
  // values of T, in either pass. `bias`, `dx` and `dweight`, which is added to, may be null.
  Index (*convolution_workspace)(const ConvolutionShape& shape, int threads);
  void (*convolution)(const ConvolutionShape& shape, const T* x, const T* weight, const T* bias,
                      T* y, const Team& team, int thread, T* workspace);
  void (*convolution_gradient)(const ConvolutionShape& shape, const T* dy, const T* x,
                               const T* weight, T* dx, T* dweight, const Team& team, int thread,
                               T* workspace);
  // For sequences [begin, end) of x (steps, batch, width): the mean of the first lengths[b] steps,
  // or their maximum and its step, the first of equal ones. A sequence without steps gets zeros, at
  // step -1.
  void (*mean_pool)(const T* x, const Index* lengths, Index batch, Index width, T* y, Index begin,
                    Index end);
  void (*max_pool)(const T* x, const Index* lengths, Index batch, Index width, T* y, Index* steps,
                   Index begin, Index end);
  // One step over n elements of each of kStepArrays arrays.
  void (*sgd)(T* const* arrays, Index n, const SgdStep<T>& step);
  void (*adagrad)(T* const* arrays, Index n, const AdagradStep<T>& step);
  void (*rmsprop)(T* const* arrays, Index n, const RmspropStep<T>& step);
  void (*adam)(T* const* arrays, Index n, const AdamStep<T>& step);
  double (*sum_of_squares)(const T* x, Index n);
  void (*scale)(T* x, Index n, T factor);
  void (*clamp)(T* x, Index n, T limit);  // into [-limit, limit]; NaN stays
  // The functions of math.h, elementwise: their stated accuracy is tested through these.
  void (*exp)(const T* x, T* y, Index n);
  void (*sigmoid)(const T* x, T* y, Index n);
  void (*tanh)(const T* x, T* y, Index n);
  void (*log)(const T* x, T* y, Index n);
  void (*softplus)(const T* x, T* y, Index n);
  void (*erf)(const T* x, T* y, Index n);
  // The machine's limit, for benchmarks (probe.h). The result only keeps the compiler from removing
  // the work.
  double (*probe_read)(const T* x, Index n);
};

}  // namespace rnnfast
