// Recurrent networks on NumPy arrays. Two functions, forward and backward, serve every cell. They
// take what the kernels can read as it is, check it, so that no call touches memory that is not its
// own, and return None for everything else: Python then converts, or raises with a full message.
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/array.h"
#include "bindings/module.h"
#include "bindings/rnn_arguments.h"
#include "bindings/rnn_reserve.h"
#include "core/error.h"
#include "core/threads.h"
#include "rnn/network.h"

namespace rnnfast {
namespace {

// Packed weights of one type, and what they are of.
class PyPacked {
 public:
  template <class T>
  PyPacked(const NetworkSize& size, PackedWeights<T> weights)
      : size_(size), weights_(std::move(weights)) {}

  const NetworkSize& size() const { return size_; }
  std::size_t nbytes() const {
    return std::visit([](const auto& w) { return w.memory.size(); }, weights_);
  }
  const char* dtype() const { return of<float>() ? kDtype<float> : kDtype<double>; }
  // Null if they are of another type.
  template <class T>
  const PackedWeights<T>* of() const {
    return std::get_if<PackedWeights<T>>(&weights_);
  }

 private:
  NetworkSize size_;
  std::variant<PackedWeights<float>, PackedWeights<double>> weights_;
};

// (L*D, B, H), one for each of the cell's states.
template <class T>
struct NewState {
  explicit NewState(const NetworkSize& s) : arrays(std::size_t(known_cell(s.cell).states)) {
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      Array<T> array = new_array<T>({s.cells(), s.batch, s.hidden_size});
      data.push_back(array.mutable_data());
      arrays[i] = std::move(array);
    }
  }
  py::tuple arrays;
  std::vector<T*> data;
};

// (T, B, I) reals or (T, B) integers; the sizes of time and batch are the array's. IndexError.
// Indices are copied: later calls read them again.
template <class T>
bool read_x(py::handle x, NetworkSize& s, NetworkInput<T>& input, HeldArrays& held,
            Buffer& indices) {
  const bool indexed = is_array<Index>(x);
  if (!indexed && !is_array<T>(x)) return false;
  if (py::detail::array_proxy(x.ptr())->nd != (indexed ? 2 : 3)) return false;
  s.seq_len = array_size(x, 0);
  s.batch = array_size(x, 1);
  if (!indexed) {
    input.x = array_data<const T>(x);
    held.add("x", x);
    return array_size(x, 2) == s.input_size;
  }
  indices = checked_indices("x: expected indices in [0, input_size)", array_data<const Index>(x),
                            s.seq_len * s.batch, s.input_size);
  input.indices = indices.as<const Index>();
  return true;
}

// The weights, or the packed ones in their place, with the sizes that they tell.
template <class T>
bool read_network(py::handle weights, const PyPacked* packed, NetworkSize& s,
                  NetworkInput<T>& input, HeldArrays& held) {
  if (!std::is_same_v<T, float> && s.precision != Precision::full) return false;
  if (packed) {
    const NetworkSize& p = packed->size();
    s.input_size = p.input_size;
    s.hidden_size = p.hidden_size;
    input.packed = packed->of<T>();
    return input.packed && !s.training && s.cell == p.cell && s.num_layers == p.num_layers &&
           s.num_directions == p.num_directions && s.precision == p.precision;
  }
  const Items items(weights);
  return read_sizes<T>(items, s) && read_weights("weights", items, s, input.weights, held);
}

template <class T>
py::object forward_of(NetworkSize& size, py::handle x, py::handle weights, const PyPacked* packed,
                      py::handle state, py::handle lengths) {
  NetworkInput<T> input{};
  HeldArrays held;
  Buffer indices;
  std::vector<Index> spans;
  if (!read_network(weights, packed, size, input, held) || !read_x(x, size, input, held, indices) ||
      !read_state("state", state, size, input.initial, held) || !read_lengths(lengths, size, spans))
    return py::none();

  Array<T> y = new_array<T>({size.seq_len, size.batch, size.num_directions * size.hidden_size});
  NewState<T> final(size);
  T* y_data = y.mutable_data();
  Reserve<T> reserve = [&] {
    const WithoutGil released(network_work(size), held);
    return network_forward(size, PackedBatch(size.seq_len, size.batch, spans), input, y_data,
                           final.data);
  }();
  py::object kept = py::none();
  if (size.training) {
    if (!size.keep_y) held.add("y", y);
    kept = py::cast(PyReserve(
        Kept<T>{std::move(reserve), std::move(input), std::move(held), std::move(indices)}));
    if (!size.keep_y) kept.cast<PyReserve&>().sign();  // PyTorch looks after what it keeps itself
  }
  return py::make_tuple(std::move(y), std::move(final.arrays), std::move(kept));
}

// Sizes that are no arrays'.
bool read_options(py::handle cell, py::handle num_layers, bool bidirectional, py::handle dropout,
                  py::handle seed, bool training, py::handle precision, NetworkSize& s) {
  const auto id = find_cell(cell);
  s.cell = id.value_or(0);
  s.num_directions = bidirectional ? 2 : 1;
  s.training = training;
  if (!id || !read_int(num_layers, s.num_layers) || s.num_layers < 1) return false;
  if (!PyFloat_CheckExact(dropout.ptr()) || !read_seed(seed, s.seed)) return false;
  if (!read_precision(precision, s.precision)) return false;
  s.dropout = PyFloat_AS_DOUBLE(dropout.ptr());
  return s.dropout >= 0 && s.dropout <= 1;
}

py::object forward(py::handle cell, py::handle x, py::handle weights, py::handle state,
                   py::handle lengths, py::handle num_layers, bool bidirectional,
                   py::handle dropout, py::handle seed, bool training, py::handle precision,
                   py::handle recompute, int threads, bool keep_y) {
  const ThreadLimit limit(threads);
  NetworkSize size{};
  size.keep_y = training && keep_y;
  if (!read_options(cell, num_layers, bidirectional, dropout, seed, training, precision, size) ||
      !read_int(recompute, size.recompute) || size.recompute < 0)
    return py::none();
  const PyPacked* packed =
      py::isinstance<PyPacked>(weights) ? py::cast<const PyPacked*>(weights) : nullptr;
  const bool is_double =
      packed ? packed->of<double>() != nullptr : read_sizes<double>(Items(weights), size);
  return is_double ? forward_of<double>(size, x, weights, packed, state, lengths)
                   : forward_of<float>(size, x, weights, packed, state, lengths);
}

template <class T>
py::object restore_of(NetworkSize& size, py::handle x, py::handle weights, py::handle state,
                      py::handle lengths, py::handle memory) {
  NetworkInput<T> input{};
  HeldArrays held;
  Buffer indices;
  std::vector<Index> spans;
  if (!read_network(weights, nullptr, size, input, held) ||
      !read_x(x, size, input, held, indices) ||
      !read_state("state", state, size, input.initial, held) ||
      !read_lengths(lengths, size, spans) || !is_array<std::uint8_t>(memory))
    return py::none();
  const std::span bytes(array_data<std::byte>(memory), std::size_t(py::len(memory)));
  Reserve<T> reserve(size, PackedBatch(size.seq_len, size.batch, spans), input, nullptr, bytes);
  held.add("memory", memory);
  return py::cast(PyReserve(
      Kept<T>{std::move(reserve), std::move(input), std::move(held), std::move(indices)}));
}

py::object restore(py::handle cell, py::handle x, py::handle weights, py::handle state,
                   py::handle lengths, py::handle num_layers, bool bidirectional,
                   py::handle dropout, py::handle seed, py::handle precision, py::handle memory) {
  NetworkSize size{};
  size.keep_y = true;
  if (!read_options(cell, num_layers, bidirectional, dropout, seed, true, precision, size))
    return py::none();
  return read_sizes<double>(Items(weights), size)
             ? restore_of<double>(size, x, weights, state, lengths, memory)
             : restore_of<float>(size, x, weights, state, lengths, memory);
}

template <class T>
py::object pack_of(NetworkSize size, py::handle weights) {
  NetworkInput<T> input{};
  HeldArrays held;
  if (!read_network(weights, nullptr, size, input, held)) return py::none();
  return py::cast(std::make_unique<PyPacked>(size, network_pack(size, input.weights)));
}

py::object pack(py::handle cell, py::handle weights, py::handle num_layers, bool bidirectional,
                py::handle precision) {
  NetworkSize size{};
  if (!read_options(cell, num_layers, bidirectional, py::float_(0.), py::int_(0), false, precision,
                    size))
    return py::none();
  const bool is_double = read_sizes<double>(Items(weights), size);
  return is_double ? pack_of<double>(size, weights) : pack_of<float>(size, weights);
}

// Arrays for the gradients of a layer's weights, None where there is no weight.
template <class T>
py::tuple new_gradients(const NetworkSize& s, Index i, const CellWeights<const T>& w,
                        CellWeights<T>& data) {
  const CellInfo& info = known_cell(s.cell);
  const Index H = s.hidden_size, rows = info.gates * H;
  py::tuple arrays(5);
  const auto add = [&](std::size_t k, const T* weight, std::initializer_list<long> shape, T*& to) {
    to = nullptr;
    if (!weight) {
      arrays[k] = py::none();
      return;
    }
    Array<T> array = new_array<T>(shape);
    to = array.mutable_data();
    arrays[k] = std::move(array);
  };
  add(0, w.weight_ih, {rows, s.layer_input(i / s.num_directions)}, data.weight_ih);
  add(1, w.weight_hh, {rows, H}, data.weight_hh);
  add(2, w.bias_ih, {rows}, data.bias_ih);
  add(3, w.bias_hh, {rows}, data.bias_hh);
  add(4, w.weight_channel, {info.params, H}, data.weight_channel);
  return arrays;
}

template <class T>
py::list new_gradients(const NetworkSize& s, const std::vector<CellWeights<const T>>& weights,
                       std::vector<CellWeights<T>>& data) {
  py::list gradients{weights.size()};
  data.resize(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i)
    gradients[i] = new_gradients(s, Index(i), weights[i], data[i]);
  return gradients;
}

// Arrays for the gradients that are the caller's: there where there is a weight.
template <class T>
bool read_gradients(py::handle dweights, const NetworkSize& s,
                    const std::vector<CellWeights<const T>>& weights,
                    std::vector<CellWeights<T>>& data, HeldArrays& held) {
  if (!read_weights("dweights", Items(dweights), s, data, held)) return false;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (!data[i].bias_ih != !weights[i].bias_ih || !data[i].bias_hh != !weights[i].bias_hh)
      return false;
  return true;
}

template <class T>
py::object backward_of(const PyReserve& reserve, Kept<T>& kept, py::handle dy, py::handle dstate,
                       bool need_dx, py::handle dweights) {
  const NetworkSize& size = kept.reserve.size;
  const bool adds = !dweights.is_none();
  const T* dy_data = nullptr;
  std::vector<const T*> dfinal;
  std::vector<CellWeights<T>> gradient_data;
  HeldArrays held;
  if (!read_optional(dy, {size.seq_len, size.batch, size.num_directions * size.hidden_size},
                     dy_data) ||
      !read_state("dstate", dstate, size, dfinal, held) ||
      (adds && !read_gradients(dweights, size, kept.input.weights, gradient_data, held)))
    return py::none();
  kept.held.check();
  reserve.check_unchanged();
  held.add("dy", dy);
  py::object dx = py::none();
  T* dx_data = nullptr;
  if (need_dx && kept.input.x) {
    Array<T> array = new_array<T>({size.seq_len, size.batch, size.input_size});
    dx_data = array.mutable_data();
    dx = std::move(array);
  }
  NewState<T> dinitial(size);
  py::object gradients = py::none();
  if (!adds) gradients = new_gradients(size, kept.input.weights, gradient_data);
  {
    const WithoutGil released(2 * network_work(size), kept.held, &held);
    network_backward(kept.reserve, kept.input, dy_data, dfinal, dx_data, dinitial.data,
                     gradient_data, adds);
  }
  return py::make_tuple(std::move(dx), std::move(dinitial.arrays), std::move(gradients));
}

py::object backward(PyReserve& reserve, py::handle dy, py::handle dstate, bool need_dx,
                    py::handle dweights, int threads) {
  const ThreadLimit limit(threads);
  return reserve.visit(
      [&](auto& kept) { return backward_of(reserve, kept, dy, dstate, need_dx, dweights); });
}

using GateList = py::typing::List<py::int_>;
using ProductList = py::typing::List<py::typing::Tuple<py::str, GateList>>;

ProductList products_of(const Stage& stage) {
  ProductList products;
  for (int k = 0; k < stage.size(); ++k) {
    const auto& [operand, span] = stage.products[k];
    GateList gates;
    for (int gate = span.first; gate < span.end(); ++gate) gates.append(gate);
    const char* from = operand.from == Operand::kState ? "state " : "value ";
    products.append(py::make_tuple(from + std::to_string(operand.index), gates));
  }
  return products;
}

py::typing::List<Stage> stages_of(const CellInfo& info) {
  py::typing::List<Stage> stages;
  for (int k = 0; k < info.size(); ++k) stages.append(py::cast(info.stages[k]));
  return stages;
}

}  // namespace

void bind_rnn(py::module_& m) {
  py::class_<Stage>(m, "Stage", "A stage of a cell's step: products, then pointwise functions.")
      .def_property_readonly("products", &products_of,
                             "What each product multiplies, \"state 0\" (h) or \"value k\", the "
                             "k-th that the cell makes for it, and the gates that it adds to.")
      .def_readonly("split", &Stage::split,
                    "Whether it sees the input's and the recurrent part of its gates apart.");
  py::class_<CellInfo>(m, "CellInfo", "What a cell is made of.")
      .def_property_readonly(
          "name", [](const CellInfo& c) { return c.name; }, "Its name.")
      .def_readonly("states", &CellInfo::states,
                    "States carried from step to step; the first is h.")
      .def_readonly("gates", &CellInfo::gates, "Row blocks of weight_ih and weight_hh.")
      .def_readonly("params", &CellInfo::params, "Rows of weight_channel.")
      .def_property_readonly("stages", &stages_of,
                             "The stages of a step. The first has no products if it belongs to the "
                             "end of the step before.");
  py::class_<PyPacked>(m, "Packed",
                       "A copy of a network's weights in the form that the kernels read, made by "
                       "`rnnfast.functional.pack`. What happens to the weights afterwards has no "
                       "influence on it.")
      .def_property_readonly("nbytes", &PyPacked::nbytes, "Bytes of the copy.")
      .def_property_readonly("dtype", &PyPacked::dtype, "Name of its dtype.")
      .def_property_readonly(
          "cell", [](const PyPacked& p) { return known_cell(p.size().cell).name; }, "The cell.")
      .def_property_readonly(
          "input_size", [](const PyPacked& p) { return p.size().input_size; }, "I.")
      .def_property_readonly(
          "hidden_size", [](const PyPacked& p) { return p.size().hidden_size; }, "H.")
      .def_property_readonly(
          "num_layers", [](const PyPacked& p) { return p.size().num_layers; }, "L.")
      .def_property_readonly(
          "bidirectional", [](const PyPacked& p) { return p.size().num_directions == 2; },
          "Whether D is 2.")
      .def_property_readonly(
          "precision", [](const PyPacked& p) { return precision_name(p.size().precision); },
          "Precision of the products.");
  m.def(
      "cells",
      [] {
        py::list list;
        for (int i = 0; i < cell_count(); ++i) list.append(py::cast(known_cell(i)));
        return list;
      },
      "Every cell: those of the registry, and what was defined.");
  m.def(
      "forward", &forward, py::arg("cell"), py::arg("x"), py::arg("weights"), py::arg("state"),
      py::arg("lengths"), py::arg("num_layers"), py::arg("bidirectional"), py::arg("dropout"),
      py::arg("seed"), py::arg("training"), py::arg("precision"), py::arg("recompute"),
      py::arg("threads") = 0, py::arg("keep_y") = false,
      "y, the final states and, if training, the reserve; None where an argument is not exactly "
      "what the kernels read. Backward reads y, so nobody may write to it in between, except where "
      "`keep_y` lets the reserve have a copy. `threads`: the most that the call uses; 0 for the "
      "process' number.");
  m.def(
      "restore", &restore, py::arg("cell"), py::arg("x"), py::arg("weights"), py::arg("state"),
      py::arg("lengths"), py::arg("num_layers"), py::arg("bidirectional"), py::arg("dropout"),
      py::arg("seed"), py::arg("precision"), py::arg("memory"),
      "The reserve of an earlier training call with `keep_y` and without recomputation, from that "
      "call's arguments and the bytes of its reserve; None as in forward.");
  m.def("backward", &backward, py::arg("reserve"), py::arg("dy"), py::arg("dstate"),
        py::arg("need_dx"), py::arg("dweights"), py::arg("threads") = 0,
        "dx, the gradients of the initial states and those of the weights; the latter are added to "
        "dweights, and not returned, if that is given. None as in forward.");
  m.def("pack", &pack, py::arg("cell"), py::arg("weights"), py::arg("num_layers"),
        py::arg("bidirectional"), py::arg("precision"), "Packed weights; None as in forward.");
}

}  // namespace rnnfast
