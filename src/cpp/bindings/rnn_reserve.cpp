#include "bindings/rnn_reserve.h"

#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>
#include <tuple>

#include "bindings/module.h"
#include "bindings/rnn_arguments.h"
#include "core/error.h"
#include "core/fingerprint.h"
#include "rnn/values.h"

namespace rnnfast {
namespace {

template <class T>
Fingerprints fingerprints(const Kept<T>& kept) {
  const NetworkSize& s = kept.reserve.size;
  const NetworkInput<T>& input = kept.input;
  const auto of = [](const T* data, Index count) {
    return fingerprint(data, std::size_t(count) * sizeof(T));
  };
  Fingerprints found{of(input.x, s.seq_len * s.batch * s.input_size), 0, 0, 0, 0};
  if (kept.reserve.packed.is_dense())  // otherwise backward reads a copy of y
    found.y = of(kept.reserve.outputs.back(), s.seq_len * s.batch * s.y_size());
  for (std::size_t i = 0; i < input.initial.size(); ++i)
    found.state = found.state * 31 +
                  of(input.initial[i], s.cells() * s.initial_rows() * s.state_size(int(i)));
  const Index rows = s.batch * (input.context.by_step ? s.seq_len : 1);
  for (const T* gates : input.context.gates)
    found.context =
        found.context * 31 + of(gates, rows * known_cell(s.cell).input_gates() * s.hidden_size);
  for (std::size_t i = 0; i < input.weights.size(); ++i) {
    const CellWeights<const T>& w = input.weights[i];
    const WeightShapes shapes = s.weight_shapes(Index(i));
    for (const std::uint64_t part :
         {of(w.weight_ih, shapes.weight_ih.count()), of(w.weight_hh, shapes.weight_hh.count()),
          of(w.bias_ih, shapes.bias_ih.count()), of(w.bias_hh, shapes.bias_hh.count()),
          of(w.weight_channel, shapes.weight_channel.count()),
          of(w.weight_hr, shapes.weight_hr.count())})
      found.weights = found.weights * 31 + part;
  }
  return found;
}

void check_cell(const NetworkSize& s, Index cell) {
  RNNFAST_CHECK(cell >= 0 && cell < s.cells(), "cell: expected 0 to ", s.cells() - 1, ", got ",
                cell);
}

// Returns a view of the reserve's own memory, which keeps the reserve alive.
py::object memory_of(py::object self) {
  return py::cast<PyReserve&>(self).visit([&](const auto& kept) {
    const Buffer& memory = kept.reserve.memory;
    return py::object(py::array_t<std::uint8_t>({Index(memory.size())}, {Index(1)},
                                                memory.as<std::uint8_t>(), self));
  });
}

template <class T>
void check_states(const Kept<T>& kept, Index cell) {
  check_cell(kept.reserve.size, cell);
  RNNFAST_CHECK(
      kept.reserve.keeps(cell % kept.reserve.size.num_directions),
      "reserve: expected that of a call without recompute, which keeps the states of every step");
  kept.held.check();
}

py::object states_of(PyReserve& reserve, Index cell, int state) {
  return reserve.visit([&]<class T>(const Kept<T>& kept) {
    const NetworkSize& s = kept.reserve.size;
    check_states(kept, cell);
    RNNFAST_CHECK(state >= 1 && state < known_cell(s.cell).states,
                  "state: expected the number of a state other than h (0), got ", state);
    Array<T> states = new_array<T>({s.seq_len, s.batch, s.hidden_size});
    const ValueOverTime<T> value{ValueOverTime<T>::kState, state, states.mutable_data()};
    network_values<T>(kept.reserve, cell, {&value, 1});
    return py::object(std::move(states));
  });
}

// Where to write values: "state" or "slot", its number, an array (T, B, .).
using ValuesTold = std::vector<std::tuple<std::string, int, py::object>>;

template <class T>
std::vector<ValueOverTime<T>> values_told(const Kept<T>& kept, const ValuesTold& told) {
  const NetworkSize& s = kept.reserve.size;
  const CellInfo& info = known_cell(s.cell);
  std::vector<ValueOverTime<T>> values;
  for (const auto& [kind, index, to] : told) {
    const bool is_state = kind == "state";
    RNNFAST_CHECK(is_state || kind == "slot", "values: expected a state or a slot, got ", kind);
    const int end = is_state ? info.states : info.saved() ? info.slots() : 0;
    RNNFAST_CHECK(index >= 0 && index < end, "values: expected ", kind, " 0 to ", end - 1, ", got ",
                  index);
    const Index width = is_state ? s.state_size(index) : s.hidden_size;
    const std::array<Index, 3> shape{s.seq_len, s.batch, width};
    RNNFAST_CHECK(is_array<T>(to, shape) && is_writable(to),
                  "values: expected a writable array of the dtype, (", s.seq_len, ", ", s.batch,
                  ", ", width, ") in C order");
    values.push_back(
        {is_state ? ValueOverTime<T>::kState : ValueOverTime<T>::kSlot, index, array_data<T>(to)});
  }
  return values;
}

void read_values(PyReserve& reserve, Index cell, const ValuesTold& told) {
  reserve.visit([&]<class T>(const Kept<T>& kept) {
    check_states(kept, cell);
    const std::vector<ValueOverTime<T>> values = values_told(kept, told);
    HeldArrays held;
    for (const auto& value : told) held.add("values", std::get<2>(value));
    const WithoutGil released(network_work(kept.reserve.size), held);
    network_values<T>(kept.reserve, cell, values);
  });
}

py::object dropout_mask_of(PyReserve& reserve, Index layer) {
  return reserve.visit([&]<class T>(const Kept<T>& kept) {
    const NetworkSize& s = kept.reserve.size;
    RNNFAST_CHECK(layer >= 0 && layer + 1 < s.num_layers, "layer: expected 0 to ", s.num_layers - 2,
                  ", got ", layer);
    Array<T> mask = new_array<T>({s.seq_len, s.batch, s.y_size()});
    network_dropout_mask(kept.reserve, layer, mask.mutable_data());
    return py::object(std::move(mask));
  });
}

py::object zoneout_mask_of(PyReserve& reserve, Index cell, int state) {
  return reserve.visit([&]<class T>(const Kept<T>& kept) {
    const NetworkSize& s = kept.reserve.size;
    check_cell(s, cell);
    const int states = known_cell(s.cell).states;
    RNNFAST_CHECK(state >= 0 && state < states, "state: expected 0 to ", states - 1, ", got ",
                  state);
    Array<T> mask = new_array<T>({s.seq_len, s.batch, s.state_size(state)});
    network_zoneout_mask(kept.reserve, cell, state, mask.mutable_data());
    return py::object(std::move(mask));
  });
}

py::object input_mask_of(PyReserve& reserve, Index layer) {
  return reserve.visit([&]<class T>(const Kept<T>& kept) {
    const NetworkSize& s = kept.reserve.size;
    RNNFAST_CHECK(layer >= 0 && layer < s.num_layers, "layer: expected 0 to ", s.num_layers - 1,
                  ", got ", layer);
    Array<T> mask = new_array<T>({s.batch, s.layer_input(layer)});
    network_input_mask(kept.reserve, layer, mask.mutable_data());
    return py::object(std::move(mask));
  });
}

py::object recurrent_mask_of(PyReserve& reserve, Index cell) {
  return reserve.visit([&]<class T>(const Kept<T>& kept) {
    const NetworkSize& s = kept.reserve.size;
    check_cell(s, cell);
    Array<T> mask = new_array<T>({s.batch, s.h_size()});
    network_recurrent_mask(kept.reserve, cell, mask.mutable_data());
    return py::object(std::move(mask));
  });
}

py::object candidate_mask_of(PyReserve& reserve, Index cell) {
  return reserve.visit([&]<class T>(const Kept<T>& kept) {
    const NetworkSize& s = kept.reserve.size;
    check_cell(s, cell);
    Array<T> mask = new_array<T>({s.seq_len, s.batch, s.hidden_size});
    network_candidate_mask(kept.reserve, cell, mask.mutable_data());
    return py::object(std::move(mask));
  });
}

py::object empty(const std::vector<Index>& shape, bool is_double) {
  if (is_double) return new_array<double>(shape);
  return new_array<float>(shape);
}

std::size_t real_bytes(py::handle array) {
  RNNFAST_CHECK(is_array<float>(array) || is_array<double>(array),
                "x, weight: expected arrays of real numbers in C order");
  check_owned("x, weight", array);
  const auto* fields = py::detail::array_proxy(array.ptr());
  std::size_t bytes = is_array<float>(array) ? sizeof(float) : sizeof(double);
  for (int i = 0; i < fields->nd; ++i) bytes *= std::size_t(fields->dimensions[i]);
  return bytes;
}

std::uint64_t fingerprint_of(py::handle x, py::handle weight) {
  return fingerprint(array_data<void>(x), real_bytes(x)) * 31 +
         fingerprint(array_data<void>(weight), real_bytes(weight));
}

}  // namespace

void PyReserve::sign() {
  signed_ = visit([](const auto& kept) { return fingerprints(kept); });
}

void PyReserve::check_unchanged() const {
  if (!signed_) return;
  const Fingerprints now = std::visit([](const auto& kept) { return fingerprints(kept); }, kept_);
  const auto check = [](const char* name, std::uint64_t got, std::uint64_t expected,
                        const char* cure) {
    if (got != expected)
      throw std::runtime_error(std::string(name) +
                               ": expected the values of the forward pass, which backward reads "
                               "again, but they have changed since; " +
                               cure);
  };
  check("x", now.x, signed_->x, "pass a copy to forward");
  check("state", now.state, signed_->state, "pass a copy to forward");
  check("weights", now.weights, signed_->weights, "change them after backward");
  check("context_gates", now.context, signed_->context, "pass a copy to forward");
  check("y", now.y, signed_->y, "change a copy instead");
}

void bind_reserve(py::module_& m) {
  fingerprint(nullptr, 0);  // a wrong setting fails the import, not the first call
  m.def("fingerprint", &fingerprint_of, py::arg("x"), py::arg("weight"),
        "Return a number that depends on the contents of two arrays; on a sample of them if they "
        "are large.");
  m.def("empty", &empty, py::arg("shape"), py::arg("is_double"),
        "Return an array from the memory cache, with whatever values were there before.");
  py::class_<PyReserve>(m, "Reserve", "The values that a training forward pass keeps for backward.")
      .def_property_readonly("nbytes", &PyReserve::nbytes, "Size of the reserve in bytes.")
      .def_property_readonly("dtype", &PyReserve::dtype, "Name of the dtype.")
      .def_property_readonly("indexed", &PyReserve::indexed, "Whether x was given as indices.")
      .def_property_readonly("weights", &PyReserve::weights,
                             "The weights of each layer and direction, as in `Weights`.")
      .def_property_readonly(
          "states", [](const PyReserve& r) { return known_cell(r.size().cell).states; },
          "Number of states of the cell.")
      .def_property_readonly(
          "y_shape",
          [](const PyReserve& r) {
            const NetworkSize& s = r.size();
            return py::make_tuple(s.seq_len, s.batch, s.y_size());
          },
          "(T, B, D*H), or (T, B, D*P) with a projection.")
      .def_property_readonly(
          "state_shapes",
          [](const PyReserve& r) {
            const NetworkSize& s = r.size();
            py::typing::List<py::typing::Tuple<py::int_, py::int_, py::int_>> shapes;
            for (int i = 0; i < known_cell(s.cell).states; ++i)
              shapes.append(py::make_tuple(s.cells(), s.batch, s.state_size(i)));
            return shapes;
          },
          "The shape of each state: (L*D, B, H), or (L*D, B, P) for a projected h.")
      .def_property_readonly("memory", &memory_of,
                             "The contents of the reserve as bytes, for `restore`; empty for a "
                             "reserve that was itself restored.")
      .def("states_over_time", &states_of, py::arg("cell"), py::arg("state"),
           "Return a state other than h after every step, (T, B, H), with zeros after the end of a "
           "sequence. `cell` numbers layers and directions, `state` is at least 1.")
      .def("read_values", &read_values, py::arg("cell"), py::arg("values"),
           "Write values of a layer and direction after every step to arrays of the caller: "
           "('state', number, array (T, B, H)), state 0 being h, or the same with 'slot' for what "
           "a step left in a slot. Steps after a sequence's end are zero.")
      .def("dropout_mask", &dropout_mask_of, py::arg("layer"),
           "Return the mask, (T, B, D*H), by which the outputs of a layer other than the last were "
           "multiplied.")
      .def("zoneout_mask", &zoneout_mask_of, py::arg("cell"), py::arg("state"),
           "Return the share of a state's new value that each step took, (T, B, H), the rest being "
           "the old value: 0 or 1, or the expectation. `cell` numbers layers and directions.")
      .def("input_mask", &input_mask_of, py::arg("layer"),
           "Return the mask, (B, I), by which the inputs of a layer were multiplied in every step.")
      .def("recurrent_mask", &recurrent_mask_of, py::arg("cell"),
           "Return the mask, (B, H), by which the operands of the recurrent products were "
           "multiplied. `cell` numbers layers and directions.")
      .def("candidate_mask", &candidate_mask_of, py::arg("cell"),
           "Return the mask, (T, B, H), by which the candidates were multiplied. `cell` numbers "
           "layers and directions.");
}

}  // namespace rnnfast
