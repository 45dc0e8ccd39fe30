// Linear layer, embedding, softmax cross-entropy, optimiser steps and clipping on NumPy arrays:
// shares the work out over threads in pieces whose borders depend on sizes alone. Python checks
// arguments with full messages; the checks here keep a wrong call from touching memory that is not
// its own.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/array.h"
#include "bindings/module.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

template <class T>
using Arrays = std::vector<Array<T>>;
using Indices = Array<long>;

constexpr long kBlock = 8192;        // elements of an elementwise pass that one kernel call handles
constexpr long kThreadWork = 65536;  // elements below which a second thread does not pay

template <class T>
void check_rank(const char* name, const Array<T>& a, int rank) {
  RNNFAST_CHECK(a.ndim() == rank, name, ": expected rank ", rank, ", got rank ", a.ndim());
}

void check_size(const char* name, long got, const char* meaning, long expected) {
  RNNFAST_CHECK(got == expected, name, ": expected ", meaning, " = ", expected, ", got ", got);
}

// Runs body(begin, end) over [0, count), in shares of whole `unit`s; `work` is the cost of it all.
template <class Body>
void share(long count, long unit, long work, const Body& body) {
  const long units = (count + unit - 1) / unit;
  const long useful = std::min(units, 1 + work / kThreadWork);
  const int threads = static_cast<int>(std::min<long>(useful, num_threads()));
  parallel(threads, [&](const Team& team, int thread) {
    const long begin = units * thread / team.size * unit;
    const long end = std::min(count, units * (thread + 1) / team.size * unit);
    if (begin < end) body(begin, end);
  });
}

// ---- linear layer

constexpr long kThreadProduct = 1 << 20;  // multiply-adds below which a second thread does not pay

int product_threads(long multiply_adds) {
  return static_cast<int>(std::min<long>(1 + multiply_adds / kThreadProduct, num_threads()));
}

template <class T>
Array<T> linear_forward(const Array<T>& x, const Array<T>& weight,
                        const std::optional<Array<T>>& bias) {
  check_rank("x", x, 2);
  check_rank("weight", weight, 2);
  const long rows = x.shape(0), inputs = weight.shape(1), outputs = weight.shape(0);
  check_size("x.shape[1]", x.shape(1), "in_features", inputs);
  if (bias) check_size("bias", bias->size(), "out_features", outputs);
  Array<T> y = new_array<T>({rows, outputs});
  const ProductArgs<T> args{x.data(),         weight.data(), bias ? bias->data() : nullptr,
                            y.mutable_data(), rows,          outputs,
                            inputs,           false};
  py::gil_scoped_release release;
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
                                        const Array<T>& weight, Array<T>& dweight,
                                        std::optional<Array<T>>& dbias, bool need_dx) {
  check_rank("dy", dy, 2);
  check_rank("x", x, 2);
  check_rank("weight", weight, 2);
  const long rows = x.shape(0), inputs = weight.shape(1), outputs = weight.shape(0);
  check_size("x.shape[1]", x.shape(1), "in_features", inputs);
  check_size("dy.shape[0]", dy.shape(0), "x.shape[0]", rows);
  check_size("dy.shape[1]", dy.shape(1), "out_features", outputs);
  check_size("dweight", dweight.size(), "size of weight", weight.size());
  if (dbias) check_size("dbias", dbias->size(), "out_features", outputs);
  std::optional<Array<T>> dx;
  if (need_dx) dx = new_array<T>({rows, inputs});
  const ProductArgs<T> to_dw{dy.data(), x.data(), nullptr, dweight.mutable_data(),
                             outputs,   inputs,   rows,    true};
  const ProductArgs<T> to_dx{dy.data(), weight.data(), nullptr, dx ? dx->mutable_data() : nullptr,
                             rows,      inputs,        outputs, false};
  T* db = dbias ? dbias->mutable_data() : nullptr;
  py::gil_scoped_release release;
  const DenseKernels<T>& kernels = dense<T>();
  const int threads = product_threads(2 * rows * inputs * outputs);
  const long size_dw = kernels.product_workspace(ProductForm::tn, outputs, inputs, rows, threads);
  const long size_dx = kernels.product_workspace(ProductForm::nn, rows, inputs, outputs, threads);
  const Buffer workspace = Buffer::allocate(sizeof(T) * std::max(size_dw, size_dx));
  parallel(threads, [&](const Team& team, int thread) {
    kernels.product(ProductForm::tn, to_dw, team, thread, workspace.as<T>());
    if (to_dx.c) kernels.product(ProductForm::nn, to_dx, team, thread, workspace.as<T>());
    if (db)
      kernels.column_sums(dy.data(), rows, outputs, db, outputs * thread / team.size,
                          outputs * (thread + 1) / team.size);
  });
  return dx;
}

// ---- embedding

constexpr const char* kExpectedIndices = "indices: expected values in [0, num_embeddings)";

template <class T>
Array<T> embedding_forward(const Array<T>& weight, const Indices& indices) {
  check_rank("weight", weight, 2);
  check_rank("indices", indices, 1);
  check_indices(kExpectedIndices, indices.data(), indices.size(), weight.shape(0));
  const long rows = indices.size(), width = weight.shape(1);
  Array<T> y = new_array<T>({rows, width});
  const T* from = weight.data();
  const long* index = indices.data();
  T* to = y.mutable_data();
  py::gil_scoped_release release;
  share(rows, 1, rows * width,
        [&](long begin, long end) { dense<T>().gather(from, index, width, to, begin, end); });
  return y;
}

template <class T>
void embedding_backward(const Array<T>& dy, const Indices& indices, Array<T>& dweight) {
  check_rank("dy", dy, 2);
  check_rank("indices", indices, 1);
  check_rank("dweight", dweight, 2);
  check_size("dy.shape[0]", dy.shape(0), "len(indices)", indices.size());
  check_size("dy.shape[1]", dy.shape(1), "embedding_dim", dweight.shape(1));
  check_indices(kExpectedIndices, indices.data(), indices.size(), dweight.shape(0));
  const long rows = indices.size(), width = dweight.shape(1), line = 64 / sizeof(T);
  const T* from = dy.data();
  const long* index = indices.data();
  T* to = dweight.mutable_data();
  py::gil_scoped_release release;
  // Threads own columns: each element's sum then has one order, that of the rows of dy.
  share(width, line, rows * width, [&](long begin, long end) {
    dense<T>().scatter_add(from, index, rows, width, to, begin, end);
  });
}

// ---- softmax cross-entropy

template <class T>
std::pair<double, std::optional<Array<T>>> cross_entropy(const Array<T>& logits,
                                                         const Indices& targets, long ignore_index,
                                                         bool need_gradient) {
  check_rank("logits", logits, 2);
  check_rank("targets", targets, 1);
  check_size("targets.shape[0]", targets.size(), "logits.shape[0]", logits.shape(0));
  const long rows = logits.shape(0), classes = logits.shape(1);
  const long* target = targets.data();
  long count = 0;
  for (long n = 0; n < rows; ++n) {
    if (target[n] == ignore_index) continue;
    if (target[n] < 0 || target[n] >= classes)
      throw py::index_error("targets: expected values in [0, classes) = [0, " +
                            std::to_string(classes) + ") or ignore_index = " +
                            std::to_string(ignore_index) + ", got " + std::to_string(target[n]));
    ++count;
  }
  std::optional<Array<T>> dlogits;
  if (need_gradient) dlogits = new_array<T>({rows, classes});
  const T* x = logits.data();
  T* dx = dlogits ? dlogits->mutable_data() : nullptr;
  std::vector<double> losses(rows);
  {
    py::gil_scoped_release release;
    const T scale = count ? T(1.0 / count) : T(0);
    share(rows, 1, 8 * rows * classes, [&](long begin, long end) {
      dense<T>().cross_entropy(x, target, rows, classes, ignore_index, scale, losses.data(), dx,
                               begin, end);
    });
  }
  double sum = 0;
  for (double loss : losses) sum += loss;
  return {count ? sum / count : std::numeric_limits<double>::quiet_NaN(), std::move(dlogits)};
}

// ---- elementwise passes over lists of arrays

// N lists of arrays that go together: arrays i of all lists have one size. An empty list beside
// others stands for an array that the operation does without (a null pointer).
template <class T, std::size_t N>
class Group {
 public:
  using Pointers = std::array<T*, N>;

  explicit Group(std::array<Arrays<T>*, N> lists) {
    Arrays<T>& first = *lists[0];
    for (std::size_t i = 0; i < first.size(); ++i) {
      Pointers p{};
      for (std::size_t k = 0; k < N; ++k) {
        if (k > 0 && lists[k]->empty()) continue;
        check_size("number of arrays", lists[k]->size(), "number of values", first.size());
        check_size("size of array", (*lists[k])[i].size(), "size of value", first[i].size());
        p[k] = (*lists[k])[i].mutable_data();
      }
      elements_ += first[i].size();
      for (long begin = 0; begin < first[i].size(); begin += kBlock) {
        Pointers at = p;
        for (T*& q : at) q = q ? q + begin : nullptr;
        blocks_.push_back({at, std::min<long>(kBlock, first[i].size() - begin)});
      }
    }
  }

  long blocks() const { return blocks_.size(); }

  // body(pointers, elements, block) for each block, on all threads.
  template <class Body>
  void each(const Body& body) const {
    py::gil_scoped_release release;
    share(blocks(), 1, elements_, [&](long begin, long end) {
      for (long b = begin; b < end; ++b) body(blocks_[b].pointers, blocks_[b].size, b);
    });
  }

 private:
  struct Block {
    Pointers pointers;
    long size;
  };
  std::vector<Block> blocks_;
  long elements_ = 0;
};

template <class T>
void sgd(Arrays<T> values, Arrays<T> gradients, Arrays<T> velocities, double lr, double momentum,
         double weight_decay, bool nesterov) {
  const SgdStep<T> s{T(lr), T(momentum), T(weight_decay), nesterov};
  Group<T, 3>({&values, &gradients, &velocities}).each([&](const auto& p, long n, long) {
    dense<T>().sgd(p[0], p[1], p[2], n, s);
  });
}

template <class T>
void adagrad(Arrays<T> values, Arrays<T> gradients, Arrays<T> sums, double lr, double eps,
             double weight_decay) {
  const AdagradStep<T> s{T(lr), T(eps), T(weight_decay)};
  Group<T, 3>({&values, &gradients, &sums}).each([&](const auto& p, long n, long) {
    dense<T>().adagrad(p[0], p[1], p[2], n, s);
  });
}

template <class T>
void rmsprop(Arrays<T> values, Arrays<T> gradients, Arrays<T> squares, Arrays<T> velocities,
             Arrays<T> means, double lr, double alpha, double eps, double momentum,
             double weight_decay) {
  const RmspropStep<T> s{T(lr), T(alpha), T(1 - alpha), T(eps), T(momentum), T(weight_decay)};
  Group<T, 5>({&values, &gradients, &squares, &velocities, &means})
      .each([&](const auto& p, long n, long) {
        dense<T>().rmsprop(p[0], p[1], p[2], p[3], p[4], n, s);
      });
}

template <class T>
void adam(Arrays<T> values, Arrays<T> gradients, Arrays<T> means, Arrays<T> squares, double lr,
          double beta1, double beta2, double eps, double weight_decay, bool decoupled, long step) {
  const double seen1 = 1 - std::pow(beta1, step), seen2 = 1 - std::pow(beta2, step);
  const AdamStep<T> s{.step_size = T(lr / seen1),
                      .correction = T(1 / std::sqrt(seen2)),
                      .one_minus_beta1 = T(1 - beta1),
                      .beta2 = T(beta2),
                      .one_minus_beta2 = T(1 - beta2),
                      .eps = T(eps),
                      .weight_decay = T(decoupled ? 0 : weight_decay),
                      .shrink = T(decoupled ? 1 - lr * weight_decay : 1)};
  Group<T, 4>({&values, &gradients, &means, &squares}).each([&](const auto& p, long n, long) {
    dense<T>().adam(p[0], p[1], p[2], p[3], n, s);
  });
}

template <class T>
double sum_of_squares(Arrays<T> arrays) {
  const Group<T, 1> group({&arrays});
  std::vector<double> sums(group.blocks());
  group.each(
      [&](const auto& p, long n, long block) { sums[block] = dense<T>().sum_of_squares(p[0], n); });
  double total = 0;
  for (double s : sums) total += s;
  return total;
}

template <class T>
void scale(Arrays<T> arrays, double factor) {
  Group<T, 1>({&arrays}).each(
      [&](const auto& p, long n, long) { dense<T>().scale(p[0], n, T(factor)); });
}

template <class T>
void clamp(Arrays<T> arrays, double limit) {
  Group<T, 1>({&arrays}).each(
      [&](const auto& p, long n, long) { dense<T>().clamp(p[0], n, T(limit)); });
}

template <class T>
void bind_real(py::module_& m) {
  using py::arg;
  const auto exact = [](const char* name) { return arg(name).noconvert(); };
  m.def("linear_forward", &linear_forward<T>, py::kw_only(), exact("x"), exact("weight"),
        exact("bias"), "x W^T + b.");
  m.def("linear_backward", &linear_backward<T>, py::kw_only(), exact("dy"), exact("x"),
        exact("weight"), exact("dweight"), exact("dbias"), arg("need_dx"),
        "Returns dx and adds to dweight and dbias.");
  m.def("embedding_forward", &embedding_forward<T>, py::kw_only(), exact("weight"),
        exact("indices"), "Rows of weight.");
  m.def("embedding_backward", &embedding_backward<T>, py::kw_only(), exact("dy"), exact("indices"),
        exact("dweight"), "Adds to dweight.");
  m.def("cross_entropy", &cross_entropy<T>, py::kw_only(), exact("logits"), exact("targets"),
        arg("ignore_index"), arg("need_gradient"),
        "Mean loss over the targets that count, and its gradient by the logits.");
  m.def("sgd", &sgd<T>, py::kw_only(), exact("values"), exact("gradients"), exact("velocities"),
        arg("lr"), arg("momentum"), arg("weight_decay"), arg("nesterov"),
        "One step over all values.");
  m.def("adagrad", &adagrad<T>, py::kw_only(), exact("values"), exact("gradients"), exact("sums"),
        arg("lr"), arg("eps"), arg("weight_decay"), "One step over all values.");
  m.def("rmsprop", &rmsprop<T>, py::kw_only(), exact("values"), exact("gradients"),
        exact("squares"), exact("velocities"), exact("means"), arg("lr"), arg("alpha"), arg("eps"),
        arg("momentum"), arg("weight_decay"), "One step over all values.");
  m.def("adam", &adam<T>, py::kw_only(), exact("values"), exact("gradients"), exact("means"),
        exact("squares"), arg("lr"), arg("beta1"), arg("beta2"), arg("eps"), arg("weight_decay"),
        arg("decoupled"), arg("step"), "Step number `step`, from 1, over all values.");
  m.def("sum_of_squares", &sum_of_squares<T>, py::kw_only(), exact("arrays"),
        "Over all arrays, in double.");
  m.def("scale", &scale<T>, py::kw_only(), exact("arrays"), arg("factor"),
        "Multiplies all arrays in place.");
  m.def("clamp", &clamp<T>, py::kw_only(), exact("arrays"), arg("limit"),
        "Clips all arrays in place into [-limit, limit].");
}

}  // namespace

void bind_dense(py::module_& m) {
  bind_real<float>(m);
  bind_real<double>(m);
}

}  // namespace rnnfast
