// Passes cells written in Python to the engine, as plain lists and names.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "bindings/module.h"
#include "core/error.h"
#include "cpu/traced_cells.h"

namespace rnnfast {
namespace {

namespace py = pybind11;

// (operation, kind and index of the place written, then of each place read)
using CodeOf = std::vector<std::vector<std::variant<int, std::string>>>;
// (products, number of values, forward, backward)
using StageTuple = std::tuple<std::vector<ProductTuple>, int, CodeOf, CodeOf>;
// (slot, eps, stage that computes it, stage that uses it)
using NormTuple = std::tuple<int, double, int, int>;

template <std::size_t kCount>
int number_of(const char* const (&names)[kCount], const std::string& name) {
  for (std::size_t i = 0; i < kCount; ++i)
    if (name == names[i]) return int(i);
  throw Error("program: expected the name of an operation or a place, got '" + name + "'");
}

InstructionOf instruction_of(const std::vector<std::variant<int, std::string>>& items) {
  const auto name = [&](std::size_t i) {
    RNNFAST_CHECK(i < items.size() && std::holds_alternative<std::string>(items[i]),
                  "program: expected a name at position ", i, " of an instruction");
    return std::get<std::string>(items[i]);
  };
  const auto place = [&](std::size_t i) {
    const int kind = number_of(kPlaceNames, name(i));
    RNNFAST_CHECK(i + 1 < items.size() && std::holds_alternative<int>(items[i + 1]),
                  "program: expected a number at position ", i + 1, " of an instruction");
    return PlaceOf{PlaceKind(kind), std::get<int>(items[i + 1])};
  };
  InstructionOf found{};
  found.op = Operation(number_of(kOperationNames, name(0)));
  const int count = kOperandCounts[int(found.op)];
  RNNFAST_CHECK(items.size() == std::size_t(3 + 2 * count), "program: expected ", count,
                " operands for ", name(0));
  found.to = place(1);
  PlaceOf* const to[] = {&found.a, &found.b, &found.c};
  for (int i = 0; i < count; ++i) *to[i] = place(std::size_t(3 + 2 * i));
  return found;
}

ProgramOf program_of(const CodeOf& code) {
  ProgramOf program;
  for (const auto& items : code) program.push_back(instruction_of(items));
  return program;
}

void define(const std::string& name, int states, int params, const std::vector<int>& input,
            const std::vector<int>& recurrent, bool opens, const std::vector<StageTuple>& stages,
            const std::vector<NormTuple>& norms, const std::vector<double>& constants, int slots,
            int dslots, int mask, bool observes) {
  CellDefinition cell{.name = name,
                      .states = states,
                      .params = params,
                      .slots = slots,
                      .dslots = dslots,
                      .mask = mask,
                      .observes = observes,
                      .input = input,
                      .recurrent = recurrent,
                      .opens = opens,
                      .stages = {},
                      .norms = {},
                      .constants = constants};
  for (const auto& [products, values, forward, backward] : stages)
    cell.stages.push_back(
        {products_told(products), values, program_of(forward), program_of(backward)});
  for (const auto& [slot, eps, made_by, used_by] : norms)
    cell.norms.push_back({slot, made_by, used_by, eps});
  define_cell(cell);
}

}  // namespace

void bind_traced(py::module_& m) {
  m.def("define", &define, py::arg("name"), py::arg("states"), py::arg("params"), py::arg("input"),
        py::arg("recurrent"), py::arg("opens"), py::arg("stages"), py::arg("norms"),
        py::arg("constants"), py::arg("slots"), py::arg("dslots"), py::arg("mask"),
        py::arg("observes"),
        "Add a cell written in Python, in the form that `rnnfast.traced` makes, to `cells`. Raise "
        "a ValueError that says why if the engine cannot run it.");
}

}  // namespace rnnfast
