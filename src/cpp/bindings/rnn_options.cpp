// Binds the descriptions of cells, and the options of networks and their calls. Options are read
// once and then passed to any number of calls.
#include "bindings/rnn_options.h"

#include <pybind11/typing.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "bindings/module.h"
#include "rnn/groups.h"

namespace rnnfast {

namespace py = pybind11;

namespace {

// Cells live as long as the process.
constexpr auto kKnownCell = py::return_value_policy::reference;

constexpr const char* kPrecisions[] = {"full", "bfloat16", "int8"};  // in the order of Precision

// Returns whether an object is a string, and its text.
bool read_text(py::handle object, std::string_view& text) {
  if (!PyUnicode_Check(object.ptr())) return false;
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (!data) throw py::error_already_set();
  text = {data, std::size_t(size)};
  return true;
}

bool read_bool(py::handle object, bool& value) {
  value = object.ptr() == Py_True;
  return value || object.ptr() == Py_False;
}

constexpr Index kMost = std::numeric_limits<std::int32_t>::max();  // of layers and steps

bool read_int(py::handle object, Index least, Index& value) {
  if (!PyLong_CheckExact(object.ptr())) return false;
  int overflow = 0;
  value = PyLong_AsLongAndOverflow(object.ptr(), &overflow);
  return overflow == 0 && value >= least && value <= kMost;
}

bool read_fraction(py::handle object, double& value) {
  if (!PyFloat_CheckExact(object.ptr())) return false;
  value = PyFloat_AS_DOUBLE(object.ptr());
  return value >= 0 && value <= 1;
}

bool read_precision(py::handle object, Precision& value) {
  std::string_view text;
  if (!read_text(object, text)) return false;
  const std::optional<Precision> found = precision_named(text);
  value = found.value_or(Precision::full);
  return found.has_value();
}

// Reads (zoneout of each state, input_dropout, recurrent_dropout, candidate_dropout, expects), or
// None for no noise.
bool read_noise(py::handle object, int states, NetworkNoise& noise) {
  if (object.is_none()) return true;
  if (!PyTuple_Check(object.ptr()) || PyTuple_GET_SIZE(object.ptr()) != 5) return false;
  const auto item = [&](Py_ssize_t i) { return py::handle(PyTuple_GET_ITEM(object.ptr(), i)); };
  const PyObject* zoneout = item(0).ptr();
  if (!PyTuple_CheckExact(zoneout) || PyTuple_GET_SIZE(zoneout) != states) return false;
  for (int s = 0; s < states; ++s)
    if (!read_fraction(PyTuple_GET_ITEM(zoneout, s), noise.zoneout[s])) return false;
  return read_fraction(item(1), noise.input_dropout) &&
         read_fraction(item(2), noise.recurrent_dropout) &&
         read_fraction(item(3), noise.candidate_dropout) && read_bool(item(4), noise.expects);
}

std::optional<NetworkOptions> network_options(py::handle cell, py::handle num_layers,
                                              py::handle bidirectional, py::handle dropout,
                                              py::handle training, py::handle precision,
                                              py::handle recompute, int threads, bool keep_y,
                                              py::handle noise) {
  NetworkOptions o;
  const std::optional<int> id = find_cell(cell);
  bool both = false;
  if (!id || !read_int(num_layers, 1, o.num_layers) || !read_bool(bidirectional, both) ||
      !read_fraction(dropout, o.dropout) || !read_bool(training, o.training) ||
      !read_precision(precision, o.precision) || !read_int(recompute, 0, o.recompute) ||
      !read_noise(noise, known_cell(*id).states, o.noise))
    return std::nullopt;
  // Candidate dropout is part of the equations of a cell with another name.
  if (o.drops_candidates() && known_cell(*id).mask < 0) return std::nullopt;
  // Products of 8-bit integers have no backward pass.
  if (o.training && o.precision == Precision::int8 && !known_cell(*id).observes)
    return std::nullopt;
  o.cell = *id;
  o.num_directions = both ? 2 : 1;
  o.threads = threads;
  o.keep_y = keep_y && o.training;
  return o;
}

using ShapeDict = py::typing::Dict<py::str, py::typing::Tuple<py::int_, py::ellipsis>>;

ShapeDict shapes_of(const CellInfo& info, Index input_size, Index hidden_size, Index proj_size) {
  const WeightShapes shapes(info, input_size, hidden_size, proj_size);
  ShapeDict dict;
  const auto add = [&](const char* name, const WeightShape& shape) {
    if (shape.axes == 0) return;
    py::tuple sizes(shape.axes);
    for (int axis = 0; axis < shape.axes; ++axis) sizes[std::size_t(axis)] = shape.sizes[axis];
    dict[name] = std::move(sizes);
  };
  add("weight_ih", shapes.weight_ih);
  add("weight_hh", shapes.weight_hh);
  add("bias_ih", shapes.bias_ih);
  add("bias_hh", shapes.bias_hh);
  add("weight_channel", shapes.weight_channel);
  add("weight_hr", shapes.weight_hr);
  return dict;
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

void bind_cells(py::module_& m) {
  py::class_<Stage>(m, "Stage", "A stage of a cell's step: products, then pointwise functions.")
      .def_property_readonly(
          "products", &products_of,
          "For each product, its operand and the gates that it adds to. The operand is \"state 0\" "
          "(h) or \"value k\", the k-th value that the cell computes.")
      .def_readonly(
          "split", &Stage::split,
          "Whether it needs the input parts and the recurrent parts of its gates separately.");
  py::class_<CellInfo>(m, "CellInfo", "The description of a cell.")
      .def_property_readonly(
          "name", [](const CellInfo& c) { return c.name; }, "Name of the cell.")
      .def_readonly("states", &CellInfo::states,
                    "Number of states that a step passes to the next; the first is h.")
      .def_property_readonly("gates", &CellInfo::input_gates, "Number of row blocks of weight_ih.")
      .def_property_readonly("recurrent_gates", &CellInfo::recurrent_gates,
                             "Number of row blocks of weight_hh.")
      .def_readonly("params", &CellInfo::params, "Number of rows of weight_channel.")
      .def_readonly("projects", &CellInfo::projects, "Whether its h may be projected.")
      .def_property_readonly(
          "reads_input", &CellInfo::reads_input,
          "Whether a step reads the input itself; input_size must then be hidden_size.")
      .def_readonly("observes", &CellInfo::observes,
                    "Whether it runs forward only, for the values that its slots keep.")
      .def_property_readonly(
          "drops_candidate", [](const CellInfo& c) { return c.mask >= 0; },
          "Whether it is a form of another cell with candidate dropout.")
      .def("shapes", &shapes_of, py::arg("input_size"), py::arg("hidden_size"),
           py::arg("proj_size") = 0,
           "Return the shapes of a layer's weights in one direction by name, in the order of "
           "`rnnfast.functional.Weights`: with weight_channel if the cell has one, and weight_hr "
           "if proj_size is not 0.")
      .def_property_readonly("stages", &stages_of,
                             "The stages of a step. The first has no products if it runs at the "
                             "end of the previous step.");
  m.def(
      "cells",
      [] {
        py::typing::List<CellInfo> list;
        for (int i = 0; i < cell_count(); ++i) list.append(py::cast(known_cell(i), kKnownCell));
        return list;
      },
      "Return all cells: those of the registry and those defined at run time.");
}

using Counts = py::typing::Tuple<py::int_, py::int_>;

Counts groups_of(const NetworkOptions& options, Index seq_len, Index batch, Index input_size,
                 Index hidden_size, bool backward) {
  NetworkSize size{options};
  size.seq_len = seq_len, size.batch = batch;
  size.input_size = input_size, size.hidden_size = hidden_size;
  const Groups groups = network_groups<float>(size, seq_len * batch, batch, backward ? 2 : 1);
  return py::make_tuple(groups.threads, groups.count);
}

}  // namespace

std::optional<int> find_cell(py::handle object) {
  std::string_view text;
  if (!read_text(object, text)) return std::nullopt;
  return find_cell(text);
}

const char* precision_name(Precision precision) { return kPrecisions[int(precision)]; }

std::optional<Precision> precision_named(std::string_view name) {
  for (const Precision p : {Precision::full, Precision::bfloat16, Precision::int8})
    if (name == precision_name(p)) return p;
  return std::nullopt;
}

void bind_options(py::module_& m) {
  bind_cells(m);
  using Options = NetworkOptions;
  py::class_<Options>(
      m, "NetworkOptions",
      "What a network is and how its calls run: everything that is the same in all calls and that "
      "the arrays do not determine. Made by `network_options`; immutable.")
      .def_property_readonly(
          "cell", [](const Options& o) -> const CellInfo& { return known_cell(o.cell); },
          kKnownCell, "The cell.")
      .def_readonly("num_layers", &Options::num_layers, "L.")
      .def_property_readonly(
          "bidirectional", [](const Options& o) { return o.num_directions == 2; },
          "Whether D is 2.")
      .def_readonly("dropout", &Options::dropout,
                    "Probability of dropout between layers, if training.")
      .def_readonly("training", &Options::training,
                    "Whether calls keep the values that backward needs.")
      .def_property_readonly(
          "precision", [](const Options& o) { return precision_name(o.precision); },
          "Precision of products: \"full\", \"bfloat16\" or \"int8\".");
  m.def("network_options", &network_options, py::arg("cell"), py::arg("num_layers"),
        py::arg("bidirectional"), py::arg("dropout"), py::arg("training"), py::arg("precision"),
        py::arg("recompute"), py::arg("threads"), py::arg("keep_y"), py::arg("noise") = py::none(),
        "Return options; None if a value has another type or is out of range, or if candidate "
        "dropout is asked of a cell without it. `cell` is a name. `recompute`: steps between two "
        "states that are kept; 0 to keep everything. `threads`: the largest number of threads of a "
        "call; 0 for the setting of the process. `keep_y`: whether training calls keep a copy of "
        "y, which backward reads, so that callers may change theirs. `noise`: a "
        "`rnnfast._engine.noise.Noise`, or None.");
  m.def("_groups", &groups_of, py::arg("options"), py::arg("seq_len"), py::arg("batch"),
        py::arg("input_size"), py::arg("hidden_size"), py::arg("backward"),
        "Return how many threads a call of a float32 network uses, and the number of groups of "
        "them that work on different layers or directions at the same time.");
}

}  // namespace rnnfast
