// Optimiser steps and gradient clipping: one parallel region a call over all parameters, in blocks
// whose borders depend on sizes alone. A block's gradient is clipped, used and set to zero while it
// is in the cache. Python checks arguments with full messages.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/array.h"
#include "bindings/held.h"
#include "bindings/module.h"
#include "bindings/object.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

constexpr Index kBlock = 4096;                // elements that one kernel call handles
constexpr Index kElementsPerThread = 131072;  // elements below which a second thread does not pay
constexpr std::size_t kMostLists = kStepArrays;

// Lists of arrays that go together: arrays i of all lists have one size. First come the gradients,
// then, for an optimiser, the values and its buffers; an empty list stands for an array that it
// does without (a null pointer). Made once for many steps, so it holds on to the arrays.
template <class T>
class Group {
 public:
  using Pointers = std::array<T*, kMostLists>;
  struct Block {
    Pointers pointers;
    Index size;
  };

  explicit Group(std::vector<std::vector<Array<T>>> lists) : lists_(std::move(lists)) {
    RNNFAST_CHECK(!lists_.empty() && lists_.size() <= kMostLists, "lists: expected 1 to ",
                  kMostLists, ", got ", lists_.size());
    for (std::size_t i = 0; i < lists_[0].size(); ++i) {
      const Index size = lists_[0][i].size();
      Pointers p{};
      for (std::size_t k = 0; k < lists_.size(); ++k) {
        if (lists_[k].empty()) continue;
        check_size("number of arrays", lists_[k].size(), "number of gradients", lists_[0].size());
        check_size("size of array", lists_[k][i].size(), "size of gradient", size);
        p[k] = lists_[k][i].mutable_data();
        held_.add("parameters", lists_[k][i]);
      }
      elements_ += size;
      for (Index begin = 0; begin < size; begin += kBlock) {
        Pointers at = p;
        for (T*& q : at) q = q ? q + begin : nullptr;
        blocks_.push_back({at, std::min(kBlock, size - begin)});
      }
    }
    held_.pin(pins_);  // for as long as there are pointers
  }

  // Pointers outlive a change of mind about who may write.
  void check() const {
    held_.check();
    for (const auto& list : lists_)
      for (const Array<T>& array : list)
        RNNFAST_CHECK(array.writeable(),
                      "parameters: expected writable arrays, got a read-only one");
  }

  Index elements() const { return elements_; }
  Index blocks() const { return Index(blocks_.size()); }
  const Block& block(Index i) const { return blocks_[std::size_t(i)]; }
  int threads() const {
    return int(std::min({blocks(), 1 + elements_ / kElementsPerThread, Index(num_threads())}));
  }

 private:
  std::vector<std::vector<Array<T>>> lists_;
  HeldArrays held_;
  std::vector<py::object> pins_;
  std::vector<Block> blocks_;
  Index elements_ = 0;
};

// What is done to the gradients around an optimiser's step.
struct Care {
  std::optional<double> clip_norm, clip_value;
  bool zero;
  bool only_if_finite;  // the joint norm; else nothing is done at all

  bool needs_norm() const { return clip_norm || only_if_finite; }
};

// The joint 2-norm of the gradients, on every thread of the team. Sums of squares are in double,
// one a block, and are added in the blocks' order.
template <class T>
double joint_norm(const Group<T>& group, Index begin, Index end, std::vector<double>& sums,
                  const Team& team) {
  for (Index b = begin; b < end; ++b)
    sums[std::size_t(b)] =
        dense<T>().sum_of_squares(group.block(b).pointers[0], group.block(b).size);
  team.barrier();
  double total = 0;
  for (double s : sums) total += s;
  return std::sqrt(total);
}

// Clips, calls step(pointers, elements) for each block, and zeroes. Returns the norm if it is
// needed.
template <class T, class Step>
std::optional<double> update(const Group<T>& group, const Care& care, const Step& step) {
  group.check();
  std::optional<double> norm;
  std::vector<double> sums(care.needs_norm() ? std::size_t(group.blocks()) : 0);
  const WithoutGil released(double(group.elements()), {});
  parallel(group.threads(), [&](const Team& team, int thread) {
    const Index begin = group.blocks() * thread / team.size;
    const Index end = group.blocks() * (thread + 1) / team.size;
    double factor = 1;
    if (care.needs_norm()) {
      const double before = joint_norm(group, begin, end, sums, team);
      if (thread == 0) norm = before;
      if (care.only_if_finite && !std::isfinite(before)) return;  // on every thread alike
      if (care.clip_norm) factor = *care.clip_norm / (before + 1e-6);
    }
    for (Index b = begin; b < end; ++b) {
      const auto& [p, n] = group.block(b);
      if (!(factor >= 1)) dense<T>().scale(p[0], n, T(factor));  // NaN then shows everywhere
      if (care.clip_value) dense<T>().clamp(p[0], n, T(*care.clip_value));
      step(p, n);
      if (care.zero) std::fill_n(p[0], n, T(0));
    }
  });
  return norm;
}

template <class T>
std::optional<double> gradients(const Group<T>& group, const Care& care) {
  return update(group, care, [](const auto&, Index) {});
}

template <class T>
std::optional<double> sgd(const Group<T>& group, const Care& care, double lr, double momentum,
                          double weight_decay, bool nesterov) {
  const auto s = SgdStep<T>::make(lr, momentum, weight_decay, nesterov);
  return update(group, care, [&](const auto& p, Index n) { dense<T>().sgd(p.data(), n, s); });
}

template <class T>
std::optional<double> adagrad(const Group<T>& group, const Care& care, double lr, double eps,
                              double weight_decay) {
  const auto s = AdagradStep<T>::make(lr, eps, weight_decay);
  return update(group, care, [&](const auto& p, Index n) { dense<T>().adagrad(p.data(), n, s); });
}

template <class T>
std::optional<double> rmsprop(const Group<T>& group, const Care& care, double lr, double alpha,
                              double eps, double momentum, double weight_decay) {
  const auto s = RmspropStep<T>::make(lr, alpha, eps, momentum, weight_decay);
  return update(group, care, [&](const auto& p, Index n) { dense<T>().rmsprop(p.data(), n, s); });
}

template <class T>
std::optional<double> adam(const Group<T>& group, const Care& care, double lr, double beta1,
                           double beta2, double eps, double weight_decay, bool decoupled,
                           Index step) {
  const auto s = AdamStep<T>::make(lr, beta1, beta2, eps, weight_decay, decoupled, step);
  return update(group, care, [&](const auto& p, Index n) { dense<T>().adam(p.data(), n, s); });
}

template <class T>
void bind_real(py::module_& m, const char* name) {
  using py::arg;
  py::class_<Group<T>>(m, name,
                       "Gradients, with the parameters and the optimiser's buffers, of which one "
                       "step visits all elements.");
  m.def(
      "group",
      [](std::vector<std::vector<Array<T>>> lists) {
        return new_object<Group<T>>(std::move(lists));
      },
      py::kw_only(), arg("lists").noconvert(),
      "Return a group of lists of arrays: gradients and, for optimiser steps, parameters and "
      "buffers.");
  m.def("gradients", &gradients<T>, py::kw_only(), arg("group"), arg("care"),
        "Clip or zero gradients without a step. Return their norm before clipping, if `care` needs "
        "it.");
  m.def("sgd", &sgd<T>, py::kw_only(), arg("group"), arg("care"), arg("lr"), arg("momentum"),
        arg("weight_decay"), arg("nesterov"),
        "Take one step; the buffers are velocity. Return the norm of the gradients, if `care` "
        "needs it.");
  m.def(
      "adagrad", &adagrad<T>, py::kw_only(), arg("group"), arg("care"), arg("lr"), arg("eps"),
      arg("weight_decay"),
      "Take one step; the buffers are sum. Return the norm of the gradients, if `care` needs it.");
  m.def("rmsprop", &rmsprop<T>, py::kw_only(), arg("group"), arg("care"), arg("lr"), arg("alpha"),
        arg("eps"), arg("momentum"), arg("weight_decay"),
        "Take one step; the buffers are square, velocity and mean. Return the norm of the "
        "gradients, if `care` needs it.");
  m.def("adam", &adam<T>, py::kw_only(), arg("group"), arg("care"), arg("lr"), arg("beta1"),
        arg("beta2"), arg("eps"), arg("weight_decay"), arg("decoupled"), arg("step"),
        "Take step number `step`, from 1; the buffers are mean and square. Return the norm of the "
        "gradients, if `care` needs it.");
}

}  // namespace

void bind_optim(py::module_& m) {
  py::class_<Care>(m, "Care",
                   "What to do to gradients: clip them before a step, zero them after it.")
      .def_readonly("clip_norm", &Care::clip_norm,
                    "The largest norm of all gradients together; None for no limit.")
      .def_readonly("clip_value", &Care::clip_value,
                    "The largest absolute value of an element; None for no limit.")
      .def_readonly("zero", &Care::zero, "Whether gradients are set to zero after the step.")
      .def_readonly(
          "only_if_finite", &Care::only_if_finite,
          "Whether to skip everything if the norm of all gradients together is not finite.");
  m.def(
      "care",
      [](std::optional<double> clip_norm, std::optional<double> clip_value, bool zero,
         bool only_if_finite) {
        return new_object<Care>(Care{clip_norm, clip_value, zero, only_if_finite});
      },
      py::kw_only(), py::arg("clip_norm") = py::none(), py::arg("clip_value") = py::none(),
      py::arg("zero") = false, py::arg("only_if_finite") = false,
      "Return what to do to gradients.");
  bind_real<float>(m, "GroupFloat");
  bind_real<double>(m, "GroupDouble");
}

}  // namespace rnnfast
