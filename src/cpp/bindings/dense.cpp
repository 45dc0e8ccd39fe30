// Linear layer, embedding and softmax cross-entropy on NumPy arrays. Python checks arguments and
// explains errors in full; the checks here keep a wrong call from touching memory outside its
// arrays.
#include "bindings/dense.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/held.h"
#include "bindings/module.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

using Indices = Array<Index>;

// ---- linear layer

template <class T>
Array<T> linear_forward(const Array<T>& x, const Array<T>& weight,
                        const std::optional<Array<T>>& bias) {
  check_rank("weight", weight, 2);
  const Index inputs = weight.shape(1), outputs = weight.shape(0), rows = row_count(x, inputs);
  check_size("x.shape[-1]", last_axis("x", x), "in_features", inputs);
  if (bias) check_size("bias", bias->size(), "out_features", outputs);
  Array<T> y = new_array<T>(extended(x, x.ndim() - 1, outputs));
  const ProductArgs<T> args{x.data(),         weight.data(), bias ? bias->data() : nullptr,
                            y.mutable_data(), rows,          outputs,
                            inputs,           false};
  const WithoutGil released(double(rows) * double(inputs) * double(outputs),
                            {x, weight, handle_of(bias)});
  const int threads = product_threads(rows * inputs * outputs);
  const Buffer workspace = Buffer::allocate(
      sizeof(T) * dense<T>().product_workspace(ProductForm::nt, rows, outputs, inputs, threads));
  parallel(threads, [&](const Team& team, int thread) {
    dense<T>().product(ProductForm::nt, args, team, thread, workspace.as<T>());
  });
  return y;
}

template <class T>
std::optional<Array<T>> linear_backward(const Array<T>& dy, const Array<T>& x,
                                        const Array<T>& weight, std::optional<Array<T>>& dweight,
                                        std::optional<Array<T>>& dbias, bool need_dx) {
  check_rank("weight", weight, 2);
  const Index inputs = weight.shape(1), outputs = weight.shape(0), rows = row_count(x, inputs);
  check_size("x.shape[-1]", last_axis("x", x), "in_features", inputs);
  check_size("dy.shape[-1]", last_axis("dy", dy), "out_features", outputs);
  check_size("rows of dy", row_count(dy, outputs), "rows of x", rows);
  if (dweight) check_size("dweight", dweight->size(), "size of weight", weight.size());
  if (dbias) check_size("dbias", dbias->size(), "out_features", outputs);
  std::optional<Array<T>> dx;
  if (need_dx) dx = new_array<T>(extended(x, x.ndim() - 1, inputs));
  const ProductArgs<T> to_dw{dy.data(), x.data(), nullptr, data_of(dweight),
                             outputs,   inputs,   rows,    true};
  const ProductArgs<T> to_dx{dy.data(), weight.data(), nullptr, data_of(dx),
                             rows,      inputs,        outputs, false};
  T* db = data_of(dbias);
  const WithoutGil released(2. * double(rows) * double(inputs) * double(outputs),
                            {dy, x, weight, handle_of(dweight), handle_of(dbias)});
  const DenseKernels<T>& kernels = dense<T>();
  const int threads = product_threads(2 * rows * inputs * outputs);
  const Index size_dw = kernels.product_workspace(ProductForm::tn, outputs, inputs, rows, threads);
  const Index size_dx = kernels.product_workspace(ProductForm::nn, rows, inputs, outputs, threads);
  const Buffer workspace = Buffer::allocate(sizeof(T) * std::max(size_dw, size_dx));
  parallel(threads, [&](const Team& team, int thread) {
    // The second product needs no barrier before it, and has none inside.
    if (to_dx.c) kernels.product(ProductForm::nn, to_dx, team, thread, workspace.as<T>());
    if (to_dw.c) kernels.product(ProductForm::tn, to_dw, team, thread, workspace.as<T>());
    if (db)
      kernels.column_sums(dy.data(), rows, outputs, db, outputs * thread / team.size,
                          outputs * (thread + 1) / team.size);
  });
  return dx;
}

// ---- embedding

constexpr const char* kExpectedIndices = "x: expected indices in [0, num_embeddings)";

template <class T>
Array<T> embedding_forward(const Array<T>& weight, const Indices& indices) {
  check_rank("weight", weight, 2);
  const Index rows = indices.size(), width = weight.shape(1);
  const Buffer index = checked_indices(kExpectedIndices, indices.data(), rows, weight.shape(0));
  Array<T> y = new_array<T>(extended(indices, indices.ndim(), width));
  const T* from = weight.data();
  T* to = y.mutable_data();
  const WithoutGil released(double(rows) * double(width), {weight});
  share(rows, 1, rows * width, [&](Index begin, Index end) {
    dense<T>().gather(from, index.as<const Index>(), width, to, begin, end);
  });
  return y;
}

template <class T>
void embedding_backward(const Array<T>& dy, const Indices& indices, Array<T>& dweight) {
  check_rank("dweight", dweight, 2);
  check_size("dy.shape[-1]", last_axis("dy", dy), "embedding_dim", dweight.shape(1));
  check_size("dy.size", dy.size(), "indices.size * embedding_dim",
             indices.size() * dweight.shape(1));
  const Index rows = indices.size(), width = dweight.shape(1), line = 64 / sizeof(T);
  const Buffer index = checked_indices(kExpectedIndices, indices.data(), rows, dweight.shape(0));
  const T* from = dy.data();
  T* to = dweight.mutable_data();
  const WithoutGil released(double(rows) * double(width), {dy, dweight});
  // Each thread owns columns, so that every element is summed in the order of dy's rows.
  share(width, line, rows * width, [&](Index begin, Index end) {
    dense<T>().scatter_add(from, index.as<const Index>(), rows, width, to, begin, end);
  });
}

// ---- softmax cross-entropy

// Checks the targets and returns the number of those not ignored, or the sum of their classes'
// weights.
template <class T>
double checked_targets(const Index* targets, Index rows, Index classes, Index ignore_index,
                       const T* weight) {
  double total = 0;
  for (Index n = 0; n < rows; ++n) {
    if (targets[n] == ignore_index) continue;
    if (targets[n] < 0 || targets[n] >= classes)
      throw py::index_error("targets: expected values in [0, classes) = [0, " +
                            std::to_string(classes) + ") or ignore_index = " +
                            std::to_string(ignore_index) + ", got " + std::to_string(targets[n]));
    total += weight ? double(weight[targets[n]]) : 1;
  }
  return total;
}

template <class T>
std::pair<double, std::optional<Array<T>>> cross_entropy(const Array<T>& logits,
                                                         const Indices& targets, Index ignore_index,
                                                         bool need_gradient,
                                                         const std::optional<Array<T>>& weight,
                                                         double label_smoothing, bool mean,
                                                         std::optional<Array<double>>& losses) {
  const Index classes = last_axis("logits", logits), rows = row_count(logits, classes);
  check_size("targets.size", targets.size(), "rows of logits", rows);
  if (weight) check_size("weight.size", weight->size(), "classes", classes);
  if (losses) check_size("losses.size", losses->size(), "rows of logits", rows);
  const Buffer copy = copied(targets.data(), rows);
  const Index* target = copy.as<const Index>();
  const T* weights = weight ? weight->data() : nullptr;
  const double total = checked_targets(target, rows, classes, ignore_index, weights);
  std::optional<Array<T>> dlogits;
  if (need_gradient) dlogits = new_array<T>(extended(logits, logits.ndim() - 1, classes));
  std::vector<double> own(losses ? 0 : rows);
  double* row_losses = losses ? losses->mutable_data() : own.data();
  double sum_of_weights = weights ? 0 : double(classes);
  for (Index c = 0; weights && c < classes; ++c) sum_of_weights += double(weights[c]);
  const CrossEntropyArgs<T> args{logits.data(),  target,
                                 classes,        ignore_index,
                                 weights,        label_smoothing,
                                 sum_of_weights, !mean ? T(1) : total > 0 ? T(1.0 / total) : T(0),
                                 row_losses,     data_of(dlogits)};
  double sum = 0;
  {
    const WithoutGil released(8. * double(rows) * double(classes),
                              {logits, handle_of(weight), handle_of(losses)});
    share(rows, 1, 8 * rows * classes,
          [&](Index begin, Index end) { dense<T>().cross_entropy(args, begin, end); });
    for (Index n = 0; n < rows; ++n) sum += row_losses[n];
  }
  if (mean) sum = total > 0 ? sum / total : std::numeric_limits<double>::quiet_NaN();
  return {sum, std::move(dlogits)};
}

template <class T>
void bind_real(py::module_& m) {
  using py::arg;
  const auto exact = [](const char* name) { return arg(name).noconvert(); };
  m.def("linear_forward", &linear_forward<T>, py::kw_only(), exact("x"), exact("weight"),
        exact("bias"), "Return x W^T + b.");
  m.def("linear_backward", &linear_backward<T>, py::kw_only(), exact("dy"), exact("x"),
        exact("weight"), exact("dweight"), exact("dbias"), arg("need_dx"),
        "Return dx, if needed, and add to dweight and dbias where they are given.");
  m.def("embedding_forward", &embedding_forward<T>, py::kw_only(), exact("weight"),
        exact("indices"), "Return the rows of weight that the indices select.");
  m.def("embedding_backward", &embedding_backward<T>, py::kw_only(), exact("dy"), exact("indices"),
        exact("dweight"), "Add the rows of dy to the rows of dweight that the indices select.");
  m.def("cross_entropy", &cross_entropy<T>, py::kw_only(), exact("logits"), exact("targets"),
        arg("ignore_index"), arg("need_gradient"), exact("weight") = py::none(),
        arg("label_smoothing") = 0.0, arg("mean") = true, exact("losses") = py::none(),
        "Return the mean or the sum of the losses of all targets but `ignore_index`, and its "
        "gradient with respect to the logits. Write the loss of each row to `losses`.");
}

}  // namespace

void bind_dense(py::module_& m) {
  bind_real<float>(m);
  bind_real<double>(m);
}

}  // namespace rnnfast
