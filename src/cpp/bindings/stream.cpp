// Models that run one step at a time on NumPy arrays: plans, which hold weights, and steppers,
// which hold the memory of their steps. The sequences' states, (B, state_size), belong to the
// caller.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/array.h"
#include "bindings/dense.h"
#include "bindings/held.h"
#include "bindings/module.h"
#include "bindings/object.h"
#include "bindings/packed.h"
#include "core/error.h"
#include "core/threads.h"
#include "rnn/stream_plan.h"

namespace rnnfast {
namespace {

// ---- plans

template <class T>
const T* layer_array(py::handle array, int rank) {
  RNNFAST_CHECK(is_array<T>(array) && py::detail::array_proxy(array.ptr())->nd == rank,
                "layers: expected an array of the plan's dtype and of rank ", rank);
  return array_data<const T>(array);
}

template <class T>
const T* optional_vector(py::handle array, Index size) {
  if (array.is_none()) return nullptr;
  const T* data = layer_array<T>(array, 1);
  check_size("layers: a vector", array_size(array, 0), "size", size);
  return data;
}

template <class T>
StreamLayerPointer<T> stream_recurrent(const NetworkOptions& options, const PyPacked& packed,
                                       bool has_context) {
  const NetworkSize& p = packed.size();
  RNNFAST_CHECK(packed.of<T>() && options.cell == p.cell && options.num_layers == p.num_layers &&
                    options.num_directions == p.num_directions && options.precision == p.precision,
                "layers: expected packed weights that match the plan's dtype and the options");
  NetworkSize size{options};
  size.input_size = p.input_size;
  size.hidden_size = p.hidden_size;
  size.proj_size = p.proj_size;
  if (size.proj_size) check_projection(size);
  return stream_network(size, *packed.of<T>(), has_context);
}

template <class T>
StreamLayerPointer<T> layer_of(const py::tuple& layer) {
  const auto kind = layer[0].cast<std::string>();
  if (kind == "recurrent")
    return stream_recurrent<T>(layer[1].cast<const NetworkOptions&>(),
                               layer[2].cast<const PyPacked&>(), layer[3].cast<bool>());
  if (kind == "activation")
    return stream_activation<T>(activation_named(layer[1].cast<std::string>()));
  if (kind == "add") return stream_add<T>(layer[1].cast<Index>());
  const py::handle array = layer[1];
  if (kind == "layer_norm") {
    const T* weight = layer_array<T>(array, 1);
    const Index width = array_size(array, 0);
    return stream_layer_norm(weight, optional_vector<T>(layer[2], width), width,
                             layer[3].cast<double>());
  }
  if (kind == "convolution") {
    const T* weight = layer_array<T>(array, 3);
    const Index outputs = array_size(array, 0);
    return stream_convolution(weight, optional_vector<T>(layer[2], outputs), outputs,
                              array_size(array, 1), array_size(array, 2), layer[3].cast<Index>());
  }
  RNNFAST_CHECK(kind == "embedding" || kind == "linear",
                "layers: expected a known kind of layer, got ", kind);
  const T* weight = layer_array<T>(array, 2);
  const Index rows = array_size(array, 0), columns = array_size(array, 1);
  if (kind == "embedding") return stream_embedding(weight, rows, columns);
  return stream_linear(weight, optional_vector<T>(layer[2], rows), columns, rows);
}

class PyStreamPlan {
 public:
  PyStreamPlan(const py::list& layers, const std::string& dtype)
      : held_(layers),
        plan_(dtype == kDtype<double> ? made<double>(layers) : made<float>(layers)) {}

  template <class F>
  auto visit(F&& f) const {
    return std::visit([&](const auto& plan) { return f(*plan); }, plan_);
  }

 private:
  template <class T>
  using Plan = std::shared_ptr<const StreamPlan<T>>;
  using AnyPlan = std::variant<Plan<float>, Plan<double>>;

  template <class T>
  static AnyPlan made(const py::list& layers) {
    std::vector<StreamLayerPointer<T>> result;
    for (const py::handle layer : layers)
      result.push_back(layer_of<T>(py::reinterpret_borrow<py::tuple>(layer)));
    return std::make_shared<const StreamPlan<T>>(std::move(result));
  }

  py::tuple held_;  // the weights
  AnyPlan plan_;
};

// ---- steps

// The numbers of some sequences, all different; None stands for all sequences, in order.
class Rows {
 public:
  // Returns whether `rows` is None or an array of integers. Throws IndexError or ValueError for
  // wrong numbers.
  bool read(py::handle rows, Index batch) {
    numbers_.clear();
    all_ = rows.is_none();
    count_ = batch;
    if (all_) return true;
    if (!is_array<Index>(rows) || py::detail::array_proxy(rows.ptr())->nd != 1) return false;
    count_ = array_size(rows, 0);
    const Index* data = array_data<const Index>(rows);
    numbers_.assign(data, data + count_);
    if (const Index* outside = find_outside(numbers_.data(), count_, batch))
      throw py::index_error("rows: expected numbers of sequences in [0, batch) = [0, " +
                            std::to_string(batch) + "), got " + std::to_string(*outside));
    seen_.assign(std::size_t(batch), false);
    for (const Index number : numbers_) {
      RNNFAST_CHECK(!seen_[std::size_t(number)], "rows: expected each sequence once, got ", number,
                    " more than once");
      seen_[std::size_t(number)] = true;
    }
    return true;
  }
  Index count() const { return count_; }
  const Index* numbers() const { return all_ ? nullptr : numbers_.data(); }

 private:
  bool all_ = true;
  Index count_ = 0;
  std::vector<Index> numbers_;
  std::vector<bool> seen_;
};

class PyStepper {
 public:
  virtual ~PyStepper() = default;
  virtual py::object step(py::handle x, py::handle states, py::handle rows) = 0;
};

template <class T>
class Stepper final : public PyStepper {
 public:
  Stepper(py::object held, const StreamPlan<T>& plan) : held_(std::move(held)), plan_(plan) {}

  py::object step(py::handle x, py::handle states, py::handle rows) override {
    if (busy_.test_and_set(std::memory_order_acquire))
      throw std::runtime_error(
          "stream: expected one thread at a time, but another thread is in a step of this stream");
    const Free free{busy_};
    if (!is_array<T>(states) || py::detail::array_proxy(states.ptr())->nd != 2 ||
        array_size(states, 1) != plan_.state_size() || !is_writable(states) ||
        !rows_.read(rows, array_size(states, 0)) || !read(x))
      return py::none();
    Array<T> y = new_array<T>({rows_.count(), plan_.output_size()});
    if (rows_.count() == 0) return y;
    StreamStep<T>& step = *step_;
    step.load(array_data<const T>(states), rows_.numbers());
    {
      const WithoutGil released(double(rows_.count()) * plan_.work(), {states});
      step.run();
    }
    step.store(array_data<T>(states), rows_.numbers());
    std::copy_n(step.y(), rows_.count() * plan_.output_size(), y.mutable_data());
    return y;
  }

 private:
  struct Free {
    std::atomic_flag& busy;
    ~Free() { busy.clear(std::memory_order_release); }
  };

  // Copies x to where the step reads it.
  bool read(py::handle x) {
    const Index count = rows_.count();
    if (is_array<Index>(x, std::initializer_list<Index>{count}) && plan_.takes_indices()) {
      prepare(count, true);
      if (count == 0) return true;
      const Index* copy = step_->indices();
      std::copy_n(array_data<const Index>(x), count, step_->indices());
      if (const Index* outside = find_outside(copy, count, plan_.input_size()))
        throw py::index_error("x: expected indices in [0, " + std::to_string(plan_.input_size()) +
                              "), got " + std::to_string(*outside));
      return true;
    }
    if (!plan_.takes_values() ||
        !is_array<T>(x, std::initializer_list<Index>{count, plan_.input_size()}))
      return false;
    prepare(count, false);
    if (count) std::copy_n(array_data<const T>(x), count * plan_.input_size(), step_->x());
    return true;
  }

  // Reuses the memory of the last step if the next one has the same size and kind of input.
  void prepare(Index count, bool indexed) {
    const int threads = num_threads();
    if (count == 0 ||
        (step_ && step_->rows() == count && step_->indexed() == indexed && threads == threads_))
      return;
    step_.emplace(plan_, count, indexed);
    threads_ = threads;
  }

  const py::object held_;  // the plan
  const StreamPlan<T>& plan_;
  Rows rows_;
  std::optional<StreamStep<T>> step_;
  int threads_ = 0;
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

Object<PyStepper> stepper(const py::object& plan) {
  return plan.cast<const PyStreamPlan&>().visit([&]<class T>(const StreamPlan<T>& of) {
    return Object<PyStepper>(std::make_unique<Stepper<T>>(plan, of));
  });
}

}  // namespace

void bind_stream(py::module_& m) {
  using py::arg;
  py::class_<PyStreamPlan>(
      m, "StreamPlan",
      "The layers of a model with their weights, which never change, for any number of steppers. A "
      "layer is a tuple: ('recurrent', options, packed, has_context), ('embedding', weight), "
      "('linear', weight, bias or None), ('activation', kind), ('layer_norm', weight, bias or "
      "None, "
      "eps), ('convolution', weight, bias or None, dilation), which is causal, or ('add', n), "
      "which "
      "adds the input of the layer n places earlier. With `has_context`, the state of a sequence "
      "holds what its context adds to the gates of each layer, after the states.");
  m.def("stream_plan", &new_object<PyStreamPlan, const py::list&, const std::string&>,
        arg("layers"), arg("dtype"), "Return a plan.");
  py::class_<PyStepper>(m, "Stepper", "Runs the steps of a plan, in one thread at a time.")
      .def("step", &PyStepper::step, arg("x"), arg("states"), arg("rows"),
           "Advance N sequences by one step and return y (N, output_size). `rows` are their rows "
           "in `states` (B, state_size), which are updated, each given once; None for all rows. "
           "Return None if an argument is not exactly what the kernels read.");
  m.def("stepper", &stepper, arg("plan"), "Return a stepper of a plan.");
}

}  // namespace rnnfast
