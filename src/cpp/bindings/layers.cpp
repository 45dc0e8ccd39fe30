// Activations, layer normalisation, convolution, pooling and dropout on NumPy arrays. Python checks
// arguments and explains errors in full; the checks here keep a wrong call from touching memory
// outside its arrays.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/dense.h"
#include "bindings/held.h"
#include "bindings/module.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

template <class T>
Array<T> new_like(const Array<T>& a) {
  return new_array<T>(std::vector<Index>(a.shape(), a.shape() + a.ndim()));
}

constexpr Index kElements = 1024;    // elements per piece of an elementwise pass: whole vectors
constexpr Index kFunctionWork = 16;  // cost of a function that needs exp, relative to a plain pass

// ---- activations

template <class T>
Array<T> activation_forward(const std::string& kind, const Array<T>& x) {
  const auto function = dense<T>().activation[int(activation_named(kind))];
  Array<T> y = new_like(x);
  const T* from = x.data();
  T* to = y.mutable_data();
  const double work = double(kFunctionWork) * double(x.size());
  const WithoutGil released(work, {x});
  share(x.size(), kElements, Index(work),
        [&](Index begin, Index end) { function(from + begin, to + begin, end - begin); });
  return y;
}

template <class T>
Array<T> activation_backward(const std::string& kind, const Array<T>& dy, const Array<T>& kept) {
  const auto function = dense<T>().activation_gradient[int(activation_named(kind))];
  check_size("dy.size", dy.size(), "size of kept", kept.size());
  Array<T> dx = new_like(kept);
  const T *from = dy.data(), *at = kept.data();
  T* to = dx.mutable_data();
  const double work = double(kFunctionWork) * double(dy.size());
  const WithoutGil released(work, {dy, kept});
  share(dy.size(), kElements, Index(work), [&](Index begin, Index end) {
    function(from + begin, at + begin, to + begin, end - begin);
  });
  return dx;
}

// ---- dropout

template <class T>
Array<T> dropout(const Array<T>& x, double p, std::uint64_t seed) {
  RNNFAST_CHECK(p >= 0 && p <= 1, "p: expected a number in [0, 1], got ", p);
  Array<T> y = new_like(x);
  const T* from = x.data();
  T* to = y.mutable_data();
  const Dropout<T> mask(p, seed, 0);
  const WithoutGil released(double(kFunctionWork) * double(x.size()), {x});
  share(x.size(), kElements, kFunctionWork * x.size(), [&](Index begin, Index end) {
    dense<T>().dropout(from + begin, begin, end - begin, mask, to + begin);
  });
  return y;
}

// ---- layer normalisation

template <class T>
LayerNormArgs<T> layer_norm_args(const Array<T>& x, const Array<T>& weight,
                                 const std::optional<Array<T>>& bias, double eps) {
  const Index width = weight.size();
  check_size("x.shape[-1]", last_axis("x", x), "size of weight", width);
  if (bias) check_size("bias.size", bias->size(), "size of weight", width);
  return {x.data(), weight.data(), bias ? bias->data() : nullptr, row_count(x, width), width, eps};
}

template <class T>
std::pair<Array<T>, std::optional<Array<T>>> layer_norm_forward(const Array<T>& x,
                                                                const Array<T>& weight,
                                                                const std::optional<Array<T>>& bias,
                                                                double eps, bool need_moments) {
  const LayerNormArgs<T> args = layer_norm_args(x, weight, bias, eps);
  Array<T> y = new_like(x);
  std::optional<Array<T>> moments;
  if (need_moments) moments = new_array<T>({args.rows, 2});
  T *to = y.mutable_data(), *kept = data_of(moments);
  {
    const WithoutGil released(4. * double(x.size()), {x, weight, handle_of(bias)});
    share(args.rows, 1, 4 * x.size(),
          [&](Index begin, Index end) { dense<T>().layer_norm(args, to, kept, begin, end); });
  }
  return {std::move(y), std::move(moments)};
}

template <class T>
std::optional<Array<T>> layer_norm_backward(const Array<T>& dy, const Array<T>& x,
                                            const Array<T>& moments, const Array<T>& weight,
                                            std::optional<Array<T>>& dweight,
                                            std::optional<Array<T>>& dbias, bool need_dx) {
  const LayerNormArgs<T> args = layer_norm_args(x, weight, std::optional<Array<T>>(), 0);
  check_size("dy.size", dy.size(), "size of x", x.size());
  check_size("moments.size", moments.size(), "2 * rows of x", 2 * args.rows);
  if (dweight) check_size("dweight.size", dweight->size(), "size of weight", args.width);
  if (dbias) check_size("dbias.size", dbias->size(), "size of weight", args.width);
  std::optional<Array<T>> dx;
  if (need_dx) dx = new_like(x);
  const T *from = dy.data(), *kept = moments.data();
  T *to = data_of(dx), *dw = data_of(dweight), *db = data_of(dbias);
  const WithoutGil released(8. * double(x.size()),
                            {dy, x, moments, weight, handle_of(dweight), handle_of(dbias)});
  if (to)
    share(args.rows, 1, 4 * x.size(), [&](Index begin, Index end) {
      dense<T>().layer_norm_dx(args, kept, from, to, begin, end);
    });
  // Each thread owns columns, so that every element is summed in the order of the rows.
  if (dw || db)
    share(args.width, 64 / sizeof(T), 4 * x.size(), [&](Index begin, Index end) {
      dense<T>().layer_norm_dweight(args, kept, from, dw, db, begin, end);
    });
  return dx;
}

// ---- convolution

template <class T>
ConvolutionShape convolution_shape(const Array<T>& x, const Array<T>& weight, Index out_steps,
                                   Index stride, Index dilation, Index padding) {
  check_rank("x", x, 3);
  check_rank("weight", weight, 3);
  check_size("x.shape[2]", x.shape(2), "weight.shape[1]", weight.shape(1));
  RNNFAST_CHECK(weight.size() > 0, "weight: expected values, got none");
  constexpr Index kMost = 1 << 30;  // so that products of two fit in 64 bits
  RNNFAST_CHECK(out_steps >= 0 && out_steps <= kMost,
                "out_steps: expected at least 0 and at most 2^30, got ", out_steps);
  for (Index value : {stride, dilation})
    RNNFAST_CHECK(value >= 1 && value <= kMost,
                  "stride, dilation: expected at least 1 and at most 2^30, got ", value);
  RNNFAST_CHECK(padding >= 0 && padding <= kMost,
                "padding: expected at least 0 and at most 2^30, got ", padding);
  return {x.shape(0),      out_steps, x.shape(1), x.shape(2), weight.shape(0),
          weight.shape(2), stride,    dilation,   padding};
}

double multiply_adds(const ConvolutionShape& s) {
  return double(s.out_steps) * double(s.batch) * double(s.inputs) * double(s.outputs) *
         double(s.taps);
}

template <class T>
Array<T> convolution_forward(const Array<T>& x, const Array<T>& weight,
                             const std::optional<Array<T>>& bias, Index out_steps, Index stride,
                             Index dilation, Index padding) {
  const auto shape = convolution_shape(x, weight, out_steps, stride, dilation, padding);
  if (bias) check_size("bias.size", bias->size(), "weight.shape[0]", shape.outputs);
  Array<T> y = new_array<T>({shape.out_steps, shape.batch, shape.outputs});
  const T *from = x.data(), *w = weight.data(), *b = bias ? bias->data() : nullptr;
  T* to = y.mutable_data();
  const WithoutGil released(multiply_adds(shape), {x, weight, handle_of(bias)});
  const int threads = product_threads(Index(multiply_adds(shape)));
  const Buffer workspace =
      Buffer::allocate(sizeof(T) * dense<T>().convolution_workspace(shape, threads));
  parallel(threads, [&](const Team& team, int thread) {
    dense<T>().convolution(shape, from, w, b, to, team, thread, workspace.as<T>());
  });
  return y;
}

template <class T>
std::optional<Array<T>> convolution_backward(const Array<T>& dy, const Array<T>& x,
                                             const Array<T>& weight,
                                             std::optional<Array<T>>& dweight,
                                             std::optional<Array<T>>& dbias, Index stride,
                                             Index dilation, Index padding, bool need_dx) {
  check_rank("dy", dy, 3);
  const auto shape = convolution_shape(x, weight, dy.shape(0), stride, dilation, padding);
  check_size("dy.shape[1]", dy.shape(1), "batch", shape.batch);
  check_size("dy.shape[2]", dy.shape(2), "weight.shape[0]", shape.outputs);
  if (dweight) check_size("dweight.size", dweight->size(), "size of weight", weight.size());
  if (dbias) check_size("dbias.size", dbias->size(), "weight.shape[0]", shape.outputs);
  std::optional<Array<T>> dx;
  if (need_dx) dx = new_like(x);
  const T *from = dy.data(), *operand = x.data(), *w = weight.data();
  T *to = data_of(dx), *dw = data_of(dweight), *db = data_of(dbias);
  const WithoutGil released(2 * multiply_adds(shape),
                            {dy, x, weight, handle_of(dweight), handle_of(dbias)});
  const int threads = product_threads(Index(2 * multiply_adds(shape)));
  const Buffer workspace =
      Buffer::allocate(sizeof(T) * dense<T>().convolution_workspace(shape, threads));
  const Index rows = shape.out_steps * shape.batch, outputs = shape.outputs;
  parallel(threads, [&](const Team& team, int thread) {
    dense<T>().convolution_gradient(shape, from, operand, w, to, dw, team, thread,
                                    workspace.as<T>());
    if (db)
      dense<T>().column_sums(from, rows, outputs, db, outputs * thread / team.size,
                             outputs * (thread + 1) / team.size);
  });
  return dx;
}

// ---- pooling

using Lengths = Array<Index>;

// Calls body(sequences' lengths, first sequence, end) in shares.
template <class T, class Body>
void pool(const Array<T>& x, const Lengths& lengths, const Body& body) {
  check_rank("x", x, 3);
  check_size("lengths.size", lengths.size(), "batch", x.shape(1));
  const Index batch = x.shape(1);
  const Buffer copy = copied(lengths.data(), batch);
  RNNFAST_CHECK(!find_outside(copy.as<const Index>(), batch, x.shape(0) + 1),
                "lengths: expected values in [0, ", x.shape(0), "]");
  const WithoutGil released(double(x.size()), {x});
  share(batch, 1, x.size(),
        [&](Index begin, Index end) { body(copy.as<const Index>(), begin, end); });
}

template <class T>
Array<T> mean_pool(const Array<T>& x, const Lengths& lengths) {
  check_rank("x", x, 3);
  Array<T> y = new_array<T>({x.shape(1), x.shape(2)});
  const T* from = x.data();
  T* to = y.mutable_data();
  const Index batch = x.shape(1), width = x.shape(2);
  pool(x, lengths, [&](const Index* counts, Index begin, Index end) {
    dense<T>().mean_pool(from, counts, batch, width, to, begin, end);
  });
  return y;
}

template <class T>
std::pair<Array<T>, Array<Index>> max_pool(const Array<T>& x, const Lengths& lengths) {
  check_rank("x", x, 3);
  Array<T> y = new_array<T>({x.shape(1), x.shape(2)});
  Array<Index> steps = new_array<Index>({x.shape(1), x.shape(2)});
  const T* from = x.data();
  T* to = y.mutable_data();
  Index* at = steps.mutable_data();
  const Index batch = x.shape(1), width = x.shape(2);
  pool(x, lengths, [&](const Index* counts, Index begin, Index end) {
    dense<T>().max_pool(from, counts, batch, width, to, at, begin, end);
  });
  return {std::move(y), std::move(steps)};
}

template <class T>
void bind_layers_of(py::module_& m) {
  using py::arg;
  const auto exact = [](const char* name) { return arg(name).noconvert(); };
  m.def("activation_forward", &activation_forward<T>, py::kw_only(), arg("kind"), exact("x"),
        "Return tanh, sigmoid, relu, gelu, gelu_tanh or silu of x.");
  m.def(
      "activation_backward", &activation_backward<T>, py::kw_only(), arg("kind"), exact("dy"),
      exact("kept"),
      "Return dx. `kept` is the result of tanh, sigmoid or relu, and the argument of the others.");
  m.def("dropout", &dropout<T>, py::kw_only(), exact("x"), arg("p"), arg("seed"),
        "Return x times a mask, which is a function of the seed and the position of an element.");
  m.def("layer_norm_forward", &layer_norm_forward<T>, py::kw_only(), exact("x"), exact("weight"),
        exact("bias"), arg("eps"), arg("need_moments"),
        "Return y and, if needed, the mean and 1 / standard deviation of each row.");
  m.def("layer_norm_backward", &layer_norm_backward<T>, py::kw_only(), exact("dy"), exact("x"),
        exact("moments"), exact("weight"), exact("dweight"), exact("dbias"), arg("need_dx"),
        "Return dx, if needed, and add to dweight and dbias, unless they are None.");
  m.def("convolution_forward", &convolution_forward<T>, py::kw_only(), exact("x"), exact("weight"),
        exact("bias"), arg("out_steps"), arg("stride"), arg("dilation"), arg("padding"),
        "Return y (out_steps, B, outputs) of x (T, B, inputs). `padding` is the number of zeros "
        "before the first step.");
  m.def("convolution_backward", &convolution_backward<T>, py::kw_only(), exact("dy"), exact("x"),
        exact("weight"), exact("dweight"), exact("dbias"), arg("stride"), arg("dilation"),
        arg("padding"), arg("need_dx"),
        "Return dx, if needed, and add to dweight and dbias, unless they are None.");
  m.def("mean_pool", &mean_pool<T>, py::kw_only(), exact("x"), exact("lengths"),
        "Return the mean of each sequence over its steps; zeros for a sequence without steps.");
  m.def("max_pool", &max_pool<T>, py::kw_only(), exact("x"), exact("lengths"),
        "Return the maximum of each sequence over its steps, and its step; zeros and -1 for a "
        "sequence without steps.");
}

}  // namespace

void bind_layers(py::module_& m) {
  bind_layers_of<float>(m);
  bind_layers_of<double>(m);
}

}  // namespace rnnfast
