// Recurrent networks on NumPy arrays. Two functions, forward and backward, serve every cell; Python
// checks arguments with full messages, the checks here keep a wrong call from touching memory that
// is not its own.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/array.h"
#include "bindings/module.h"
#include "cells/registry.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "rnn/network.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

template <class T>
using State = std::vector<std::optional<Array<T>>>;  // of each state
template <class T>
using Weights = std::vector<std::array<std::optional<Array<T>>, 5>>;  // of each layer and direction

template <class... Cell>
std::array<CellInfo, sizeof...(Cell)> infos(TypeList<Cell...>) {
  return {Cell::info...};
}
const auto kInfos = infos(Cells{});

int cell_id(const std::string& name) {
  for (std::size_t i = 0; i < kInfos.size(); ++i)
    if (name == kInfos[i].name) return int(i);
  RNNFAST_CHECK(false, "cell: no cell is named '", name, "'");
  return -1;
}

template <class A>
void check_shape(const char* name, const A& array, std::vector<Index> expected) {
  const std::vector<Index> got(array.shape(), array.shape() + array.ndim());
  const auto text = [](const std::vector<Index>& shape) {
    std::ostringstream s;
    for (Index n : shape) s << n << ",";
    return "(" + s.str() + ")";
  };
  RNNFAST_CHECK(got == expected, name, ": expected shape ", text(expected), ", got ", text(got));
}

template <class T>
T* data_of(std::optional<Array<std::remove_const_t<T>>>& array) {
  if (!array) return nullptr;
  if constexpr (std::is_const_v<T>)
    return array->data();
  else
    return array->mutable_data();
}

// The shapes of a layer's five weights; those of absent ones are not looked at.
std::array<std::vector<Index>, 5> weight_shapes(const NetworkSize& s, Index i) {
  const CellInfo& info = kInfos[std::size_t(s.cell)];
  const Index H = s.hidden_size, rows = info.gates * H;
  return {
      {{rows, s.layer_input(i / s.num_directions)}, {rows, H}, {rows}, {rows}, {info.params, H}}};
}

template <class T>
CellWeights<T> pointers(std::array<std::optional<Array<std::remove_const_t<T>>>, 5>& w) {
  return {data_of<T>(w[0]), data_of<T>(w[1]), data_of<T>(w[2]), data_of<T>(w[3]), data_of<T>(w[4])};
}

constexpr const char* kNames[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_channel"};

template <class T>
std::vector<CellWeights<const T>> checked_weights(const NetworkSize& s, Weights<T>& weights) {
  RNNFAST_CHECK(Index(weights.size()) == s.cells(), "weights: expected one entry for each of ",
                s.cells(), " layers and directions, got ", weights.size());
  std::vector<CellWeights<const T>> result;
  for (Index i = 0; i < s.cells(); ++i) {
    auto& w = weights[std::size_t(i)];
    const auto shapes = weight_shapes(s, i);
    for (std::size_t k = 0; k < w.size(); ++k)
      if (w[k]) check_shape(kNames[k], *w[k], shapes[k]);
    RNNFAST_CHECK(w[0] && w[1], "weights[", i, "]: weight_ih and weight_hh are needed");
    RNNFAST_CHECK(bool(w[4]) == (kInfos[std::size_t(s.cell)].params > 0), "weights[", i,
                  "]: weight_channel does not fit the cell");
    result.push_back(pointers<const T>(w));
  }
  return result;
}

// Where the gradients of the weights go: arrays that are given, or else new ones.
template <class T>
std::vector<CellWeights<T>> gradient_arrays(const NetworkSize& s, const Weights<T>& weights,
                                            Weights<T>& gradients, bool given) {
  RNNFAST_CHECK(!given || gradients.size() == weights.size(), "dweights: expected one entry for ",
                "each of ", weights.size(), " layers and directions, got ", gradients.size());
  gradients.resize(weights.size());
  std::vector<CellWeights<T>> result;
  for (Index i = 0; i < s.cells(); ++i) {
    const auto& w = weights[std::size_t(i)];
    auto& g = gradients[std::size_t(i)];
    const auto shapes = weight_shapes(s, i);
    for (std::size_t k = 0; k < w.size(); ++k) {
      if (!given && w[k]) g[k] = new_array<T>(shapes[k]);
      RNNFAST_CHECK(bool(g[k]) == bool(w[k]), "dweights[", i, "].", kNames[k], ": expected ",
                    w[k] ? "an array" : "none", ", as the weights have");
      if (w[k]) check_shape(kNames[k], *g[k], shapes[k]);
    }
    result.push_back(pointers<T>(g));
  }
  return result;
}

template <class T>
std::vector<const T*> checked_state(const char* name, const NetworkSize& s,
                                    std::optional<State<T>>& state) {
  const auto states = std::size_t(kInfos[std::size_t(s.cell)].states);
  if (!state) return std::vector<const T*>(states, nullptr);
  RNNFAST_CHECK(state->size() == states, name, ": expected ", states, " arrays, got ",
                state->size());
  std::vector<const T*> result;
  for (auto& array : *state) {
    if (array) check_shape(name, *array, {s.cells(), s.batch, s.hidden_size});
    result.push_back(data_of<const T>(array));
  }
  return result;
}

template <class T>
struct NewState {
  std::vector<Array<T>> arrays;
  std::vector<T*> data;
};

template <class T>
NewState<T> new_state(const NetworkSize& s) {
  NewState<T> result;
  for (int i = 0; i < kInfos[std::size_t(s.cell)].states; ++i) {
    result.arrays.push_back(new_array<T>({s.cells(), s.batch, s.hidden_size}));
    result.data.push_back(result.arrays.back().mutable_data());
  }
  return result;
}

// A training forward pass: the reserve, and the arrays that backward reads again.
template <class T>
struct Kept {
  Reserve<T> reserve;
  NetworkInput<T> input;
  std::variant<Array<T>, Array<Index>> x;
  Array<T> y;
  Weights<T> weights;
  std::optional<State<T>> state;
};

class PyReserve {
 public:
  template <class T>
  explicit PyReserve(Kept<T> kept) : kept_(std::move(kept)) {}

  std::size_t nbytes() const {
    return std::visit([](const auto& k) { return k.reserve.memory.size(); }, kept_);
  }
  template <class T>
  Kept<T>& of() {
    RNNFAST_CHECK(std::holds_alternative<Kept<T>>(kept_), "reserve: made with another dtype");
    return std::get<Kept<T>>(kept_);
  }

 private:
  std::variant<Kept<float>, Kept<double>> kept_;
};

template <class T>
py::tuple forward(const std::string& cell, std::variant<Array<T>, Array<Index>> x,
                  Weights<T> weights, std::optional<State<T>> state,
                  const std::optional<Array<Index>>& lengths, Index input_size, Index hidden_size,
                  Index num_layers, bool bidirectional, double dropout, std::uint64_t seed,
                  bool training, bool bfloat16, Index recompute) {
  const py::array& any_x = std::visit([](auto& a) -> py::array& { return a; }, x);
  const bool indexed = std::holds_alternative<Array<Index>>(x);
  RNNFAST_CHECK(any_x.ndim() == (indexed ? 2 : 3),
                "x: expected rank 3, or 2 for indices, got rank ", any_x.ndim());
  RNNFAST_CHECK(input_size >= 1 && hidden_size >= 1 && num_layers >= 1 && recompute >= 0,
                "sizes: ", input_size, " ", hidden_size, " ", num_layers, " ", recompute);
  NetworkSize size{.cell = cell_id(cell),
                   .seq_len = any_x.shape(0),
                   .batch = any_x.shape(1),
                   .input_size = input_size,
                   .hidden_size = hidden_size,
                   .num_layers = num_layers,
                   .num_directions = bidirectional ? 2 : 1,
                   .dropout = dropout,
                   .seed = seed,
                   .training = training,
                   .precision = bfloat16 ? Precision::bfloat16 : Precision::full,
                   .recompute = recompute};
  NetworkInput<T> input{};
  if (indexed) {
    const Array<Index>& indices = std::get<Array<Index>>(x);
    input.indices = indices.data();
    check_indices("x: expected indices in [0, input_size)", indices, input_size);
  } else {
    check_shape("x", any_x, {size.seq_len, size.batch, input_size});
    input.x = std::get<Array<T>>(x).data();
  }
  input.weights = checked_weights(size, weights);
  input.initial = checked_state("state", size, state);

  Array<T> y = new_array<T>({size.seq_len, size.batch, size.num_directions * hidden_size});
  NewState<T> final = new_state<T>(size);
  T* y_data = y.mutable_data();
  std::span<const Index> spans;  // empty also for a batch of none
  if (lengths) spans = {lengths->data(), std::size_t(lengths->size())};
  Reserve<T> reserve = [&] {
    py::gil_scoped_release release;
    return network_forward(size, PackedBatch(size.seq_len, size.batch, spans), input, y_data,
                           final.data);
  }();
  py::object kept = py::none();
  if (training)
    kept = py::cast(PyReserve(Kept<T>{std::move(reserve), std::move(input), std::move(x), y,
                                      std::move(weights), std::move(state)}));
  return py::make_tuple(y, std::move(final.arrays), kept);
}

template <class T>
py::tuple backward(PyReserve& reserve, std::optional<Array<T>> dy, std::optional<State<T>> dstate,
                   bool need_dx, std::optional<Weights<T>> dweights) {
  Kept<T>& kept = reserve.of<T>();
  const NetworkSize& size = kept.reserve.size;
  if (dy)
    check_shape("dy", *dy, {size.seq_len, size.batch, size.num_directions * size.hidden_size});
  const std::vector<const T*> dfinal = checked_state("dstate", size, dstate);
  RNNFAST_CHECK(!need_dx || kept.input.x, "need_dx: x are indices, which have no gradient");
  std::optional<Array<T>> dx;
  if (need_dx) dx = new_array<T>({size.seq_len, size.batch, size.input_size});
  NewState<T> dinitial = new_state<T>(size);
  const bool adds = dweights.has_value();
  Weights<T> gradients = std::move(dweights).value_or(Weights<T>{});
  const std::vector<CellWeights<T>> gradient_data =
      gradient_arrays(size, kept.weights, gradients, adds);
  const T* dy_data = data_of<const T>(dy);
  T* dx_data = data_of<T>(dx);
  {
    py::gil_scoped_release release;
    network_backward(kept.reserve, kept.input, dy_data, dfinal, dx_data, dinitial.data,
                     gradient_data, adds);
  }
  return py::make_tuple(dx, std::move(dinitial.arrays), adds ? py::none() : py::cast(gradients));
}

template <class T>
void bind_type(py::module_& m) {
  m.def("forward", &forward<T>, py::kw_only(), py::arg("cell"), py::arg("x").noconvert(),
        py::arg("weights").noconvert(), py::arg("state").noconvert(),
        py::arg("lengths").noconvert(), py::arg("input_size"), py::arg("hidden_size"),
        py::arg("num_layers"), py::arg("bidirectional"), py::arg("dropout"), py::arg("seed"),
        py::arg("training"), py::arg("bfloat16"), py::arg("recompute"),
        "y, the final states and, if training, the reserve for backward.");
  m.def("backward", &backward<T>, py::kw_only(), py::arg("reserve"), py::arg("dy").noconvert(),
        py::arg("dstate").noconvert(), py::arg("need_dx"), py::arg("dweights").noconvert(),
        "dx, the gradients of the initial states and those of the weights; the latter are added to "
        "dweights, and not returned, if that is given.");
}

}  // namespace

void bind_rnn(py::module_& m) {
  py::class_<CellInfo>(m, "CellInfo", "What a cell is made of.")
      .def_property_readonly(
          "name", [](const CellInfo& c) { return c.name; }, "Its name.")
      .def_readonly("states", &CellInfo::states,
                    "States carried from step to step; the first is h.")
      .def_readonly("gates", &CellInfo::gates, "Row blocks of weight_ih and weight_hh.")
      .def_readonly("params", &CellInfo::params, "Rows of weight_channel.");
  py::class_<PyReserve>(m, "Reserve", "What a training forward pass keeps for backward.")
      .def_property_readonly("nbytes", &PyReserve::nbytes, "Bytes of the reserve space.");
  m.def(
      "cells", [] { return std::vector<CellInfo>(kInfos.begin(), kInfos.end()); },
      "Every cell of the registry.");
  bind_type<float>(m);
  bind_type<double>(m);
}

}  // namespace rnnfast
