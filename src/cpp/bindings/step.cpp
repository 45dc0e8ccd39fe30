// Single steps of one layer on NumPy arrays. Like the functions of rnn.cpp, these accept only
// arguments that the kernels can read as they are, and return None for anything else.
#include "rnn/step.h"

#include <pybind11/pybind11.h>

#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/array.h"
#include "bindings/gradients.h"
#include "bindings/module.h"
#include "bindings/object.h"
#include "bindings/packed.h"
#include "bindings/rnn_arguments.h"
#include "core/error.h"
#include "core/threads.h"
#include "rnn/network.h"

namespace rnnfast {
namespace {

// A row (B, H) of each state in `object`, a list or tuple; null for None.
template <class T>
bool read_rows(const char* name, py::handle object, const NetworkSize& s,
               std::vector<const T*>& rows, HeldArrays& held) {
  rows.assign(std::size_t(known_cell(s.cell).states), nullptr);
  if (object.is_none()) return true;
  const Items items(object);
  if (!items || items.size() != Index(rows.size())) return false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!read_optional(items[Index(i)], {s.batch, s.hidden_size}, rows[i])) return false;
    held.add(name, items[Index(i)]);
  }
  return true;
}

// Reads what a context adds to the gates, (B, input_gates * H), or an array to write to.
template <class T>
bool read_step_context(const char* name, py::handle context, const NetworkSize& s, T*& data,
                       HeldArrays& held) {
  const Index width = known_cell(s.cell).input_gates() * s.hidden_size;
  if (!read_optional(context, {s.batch, width}, data)) return false;
  held.add(name, context);
  return true;
}

template <class T>
bool read_step(const NetworkSize& size, py::handle x, py::handle state, bool training,
               StepInput<T>& input, HeldArrays& held) {
  NetworkSize& s = input.size = size;
  if (!is_array<T>(x) || py::detail::array_proxy(x.ptr())->nd != 2 ||
      array_size(x, 1) != s.input_size)
    return false;
  s.seq_len = 1;
  s.batch = array_size(x, 0);
  s.training = training;
  input.x = array_data<const T>(x);
  held.add("x", x);
  return read_rows("state", state, s, input.initial, held);
}

// New arrays (B, H) for each state.
template <class T>
py::tuple new_rows(const NetworkSize& s, std::vector<T*>& data) {
  py::tuple arrays(std::size_t(known_cell(s.cell).states));
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    Array<T> array = new_array<T>({s.batch, s.hidden_size});
    data.push_back(array.mutable_data());
    arrays[i] = std::move(array);
  }
  return arrays;
}

void check_one_layer(const NetworkSize& s) {
  RNNFAST_CHECK(s.cells() == 1 && !s.proj_size,
                "packed: expected one layer in one direction without a projection");
}

template <class T>
py::object take_step_of(const PyPacked& packed, py::handle x, py::handle state, py::handle context,
                        bool keep) {
  StepInput<T> input{};
  HeldArrays held;
  if (!read_step(packed.size(), x, state, keep, input, held) ||
      !read_step_context("context_gates", context, input.size, input.context, held))
    return py::none();
  std::vector<T*> final;
  py::tuple arrays = new_rows(input.size, final);
  py::object memory = py::none();
  T* kept = nullptr;
  if (keep) {
    Array<std::uint8_t> bytes = new_array<std::uint8_t>({Index(step_memory<T>(input.size))});
    kept = reinterpret_cast<T*>(bytes.mutable_data());
    memory = std::move(bytes);
  }
  {
    const WithoutGil released(network_work(input.size), held);
    step_forward(input, *packed.of<T>(), kept, final);
  }
  return py::make_tuple(std::move(arrays), std::move(memory));
}

py::object take_step(const PyPacked& packed, py::handle x, py::handle state, int threads, bool keep,
                     py::handle context) {
  check_one_layer(packed.size());
  const ThreadLimit limit(threads);
  return packed.of<double>() ? take_step_of<double>(packed, x, state, context, keep)
                             : take_step_of<float>(packed, x, state, context, keep);
}

// The weights of which `wanted`, a sequence of booleans in the order of `Weights`, is true.
template <class T>
CellWeights<const T> wanted_of(const CellWeights<const T>& w, const Items& wanted) {
  RNNFAST_CHECK(wanted && wanted.size() == kWeights, "wanted: expected ", kWeights, " booleans");
  const auto keep = [&](Index k, const T* weight) {
    return PyObject_IsTrue(wanted[k].ptr()) == 1 ? weight : nullptr;
  };
  return {keep(0, w.weight_ih), keep(1, w.weight_hh),      keep(2, w.bias_ih),
          keep(3, w.bias_hh),   keep(4, w.weight_channel), keep(5, w.weight_hr)};
}

template <class T>
struct Sum {
  HeldArrays held;  // the weights
  CellWeights<const T> wanted;
  StepGradient<T> gradient;
};

class PyStepGradient {
 public:
  PyStepGradient(const PyPacked& packed, py::handle weights, py::handle wanted)
      : size_(packed.size()), sum_(read(packed, weights, wanted)) {}

  py::object add(py::handle x, py::handle state, py::handle memory, py::handle dstate, bool need_dx,
                 int threads, py::handle dcontext) {
    const ThreadLimit limit(threads);
    return std::visit(
        [&](auto& sum) { return add_of(sum, x, state, memory, dstate, need_dx, dcontext); }, sum_);
  }

  py::tuple gradients() {
    return std::visit(
        [&]<class T>(Sum<T>& sum) {
          CellWeights<T> data;
          py::tuple arrays = new_gradients(size_.weight_shapes(0), sum.wanted, data);
          sum.held.check();
          sum.gradient.write(data);
          return arrays;
        },
        sum_);
  }

 private:
  using Sums = std::variant<Sum<float>, Sum<double>>;

  template <class T>
  static Sum<T> read_of(const NetworkSize& size, py::handle weights, py::handle wanted) {
    HeldArrays held;
    std::vector<CellWeights<const T>> of_layers;
    RNNFAST_CHECK(read_weights("weights", Items(weights), size, of_layers, held),
                  "weights: expected those that were packed, in C order");
    const CellWeights<const T> some = wanted_of<T>(of_layers[0], Items(wanted));
    return {std::move(held), some, StepGradient<T>(size, of_layers[0], some)};
  }
  static Sums read(const PyPacked& packed, py::handle weights, py::handle wanted) {
    check_one_layer(packed.size());
    if (packed.of<double>()) return read_of<double>(packed.size(), weights, wanted);
    return read_of<float>(packed.size(), weights, wanted);
  }

  template <class T>
  py::object add_of(Sum<T>& sum, py::handle x, py::handle state, py::handle memory,
                    py::handle dstate, bool need_dx, py::handle dcontext) {
    StepInput<T> input{};
    HeldArrays held;
    std::vector<const T*> dfinal;
    T* dcontext_data = nullptr;
    if (!read_step(size_, x, state, true, input, held) ||
        !read_rows("dstate", dstate, input.size, dfinal, held) ||
        !read_step_context("dcontext_gates", dcontext, input.size, dcontext_data, held) ||
        !is_array<std::uint8_t>(memory))
      return py::none();
    held.add("memory", memory);
    const std::size_t bytes = step_memory<T>(input.size);
    RNNFAST_CHECK(std::size_t(py::len(memory)) == bytes, "memory: expected ", bytes,
                  " bytes, those of the step, got ", py::len(memory));
    const T* kept = array_data<const T>(memory);
    RNNFAST_CHECK(bytes == 0 || reinterpret_cast<std::uintptr_t>(kept) % 64 == 0,
                  "memory: expected an address that is a multiple of 64");
    py::object dx = py::none();
    T* dx_data = nullptr;
    if (need_dx) {
      Array<T> array = new_array<T>({input.size.batch, input.size.input_size});
      dx_data = array.mutable_data();
      dx = std::move(array);
    }
    std::vector<T*> dinitial;
    py::tuple arrays = new_rows(input.size, dinitial);
    sum.held.check();
    {
      const WithoutGil released(2 * network_work(input.size), sum.held, &held);
      sum.gradient.add(input, kept, dfinal, dx_data, dinitial, dcontext_data);
    }
    return py::make_tuple(std::move(dx), std::move(arrays));
  }

  NetworkSize size_;
  Sums sum_;
};

}  // namespace

void bind_step(py::module_& m) {
  using py::arg;
  m.def("step_forward", &take_step, arg("packed"), arg("x"), arg("state"), arg("threads"),
        arg("keep"), arg("context_gates") = py::none(),
        "The new states, (B, H) each, of a step of one layer and, if `keep`, the bytes that "
        "backward needs; None where an argument is not exactly what the kernels read. `threads` is "
        "the most that a call uses, 0 the process's setting.");
  py::class_<PyStepGradient>(m, "StepGradient",
                             "The gradients of the weights of one layer, summed over the backward "
                             "passes of single steps with any batches.")
      .def(
          "add", &PyStepGradient::add, arg("x"), arg("state"), arg("memory"), arg("dstate"),
          arg("need_dx"), arg("threads"), arg("dcontext_gates") = py::none(),
          "dx and the gradients of the step's initial states, (B, H) each, from the arguments and "
          "bytes of its forward pass and the gradients of its new states; adds the gradients of "
          "the weights to the sums, and that of context_gates to dcontext_gates, if given. None as "
          "in step_forward.")
      .def("gradients", &PyStepGradient::gradients,
           "The sums, in the order of `rnnfast.functional.Weights`; None for those that are not "
           "wanted.");
  m.def("step_gradient", &new_object<PyStepGradient, const PyPacked&, py::handle&, py::handle&>,
        arg("packed"), arg("weights"), arg("wanted"),
        "Return gradients whose sums are zero. `wanted` tells for each field of "
        "`rnnfast.functional.Weights` whether its gradient is computed; None stands for no.");
}

}  // namespace rnnfast
