// Recurrent networks, by address.
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/object.h"
#include "core/error.h"
#include "cuda/bindings/address.h"
#include "cuda/bindings/module.h"
#include "cuda/network.h"
#include "cuda/runtime.h"

namespace py = pybind11;

namespace rnnfast::cuda {
namespace {

using Addresses = std::vector<Address>;

template <class T>
std::vector<T*> pointers(const Addresses& addresses) {
  std::vector<T*> result;
  for (const Address a : addresses) result.push_back(pointer<T>(a));
  return result;
}

template <class T>
std::vector<Weights<T>> weights_at(const std::vector<std::array<Address, 5>>& addresses) {
  std::vector<Weights<T>> result;
  for (const auto& a : addresses)
    result.push_back(
        {pointer<T>(a[0]), pointer<T>(a[1]), pointer<T>(a[2]), pointer<T>(a[3]), pointer<T>(a[4])});
  return result;
}

// Checks the arrays that kernels access whenever a cell has them.
template <class T>
void check_weights(const CellInfo& info, int input_size, const char* name, const Weights<T>& w) {
  RNNFAST_CHECK(w.weight_ih || !input_size, name, ": expected the address of weight_ih, got null");
  RNNFAST_CHECK(w.weight_hh || !info.recurrent_gates(), name,
                ": expected the address of weight_hh, got null");
  RNNFAST_CHECK(w.weight_channel || !info.params, name, ": cell ", info.name,
                " has parameters; expected the address of weight_channel, got null");
}
// Checks the arrays of a call that is not empty.
void check_there(const char* name, const Addresses& addresses) {
  for (const Address a : addresses)
    RNNFAST_CHECK(a, name, ": expected the address of an array, got null");
}

// A call's sizes and inputs, built once for forward and backward.
struct NetworkCall {
  NetworkSize size;
  NetworkInput input;

  std::size_t states() const { return std::size_t(size.info().states); }
};

Object<NetworkCall> network_call(int cell, int steps, int batch, int input_size, int hidden_size,
                                 int layers, int directions, bool training,
                                 const std::string& products,
                                 const std::optional<std::string>& kernel, double dropout,
                                 std::uint64_t seed, Address x, Address indices, Address lengths,
                                 const std::vector<std::array<Address, 5>>& weights,
                                 const Addresses& initial) {
  std::optional<Kernel> only;
  if (kernel) only = kernel_named(*kernel);
  NetworkCall call{
      {cell, steps, batch, input_size, hidden_size, layers, directions, training, lengths != 0,
       products_named(products), dropout, seed, only},
      {pointer<const float>(x), pointer<const std::int64_t>(indices), pointer<const int>(lengths),
       weights_at<const float>(weights), pointers<const float>(initial)}};
  RNNFAST_CHECK(Index(call.input.weights.size()) == call.size.cells(),
                "weights: expected one entry per layer and direction");
  RNNFAST_CHECK(call.input.initial.size() == call.states(),
                "initial: expected one array per state");
  const CellInfo& info = call.size.info();
  const bool computes = call.size.rows() > 0;
  RNNFAST_CHECK(!computes || !input_size || (x != 0) != (indices != 0),
                "x, indices: expected the address of exactly one of them");
  RNNFAST_CHECK(!info.reads_input() || (!indices && input_size == hidden_size), "cell ", info.name,
                " reads its input: expected x with input_size = hidden_size = ", hidden_size,
                ", got ", indices ? "indices" : "input_size ",
                indices ? "" : std::to_string(input_size));
  for (const auto& w : call.input.weights) check_weights(info, input_size, "weights", w);
  return new_object<NetworkCall>(std::move(call));
}

KernelUnit unit_of(const NetworkCall& call, bool backward) {
  return call.size.unit(backward ? Pass::backward : Pass::forward, device_properties());
}
// What must be compiled before a pass: (kernel, whether products multiply pairs of bfloat16).
std::optional<std::tuple<std::string, bool>> missing(const NetworkCall& call, bool backward) {
  const KernelUnit unit = unit_of(call, backward);
  if (device_cell(call.size.cell).functions(unit)) return {};
  return std::tuple(std::string(kernel_name(unit.kernel)), unit.paired);
}

// The header that defines a kernel's functions, and their names for a C++ type `type`.
std::tuple<std::string, std::vector<std::string>> functions(int cell, const std::string& kernel,
                                                            bool backward, bool paired,
                                                            const std::string& type) {
  const Kernel k = kernel_named(kernel);
  return {header_of(k), function_names(k, backward ? Pass::backward : Pass::forward, paired,
                                       device_cell(cell).info(), type)};
}
void load(int cell, const std::string& kernel, bool backward, bool paired,
          const Addresses& functions) {
  Functions found;
  for (const Address a : functions) found.push_back(pointer<const void>(a));
  device_cell(cell).load({kernel_named(kernel), backward ? Pass::backward : Pass::forward, paired,
                          device_properties().capability},
                         std::move(found));
}

int define(const std::string& name, int states, int params, const std::vector<int>& input,
           const std::vector<int>& recurrent, bool opens,
           const std::vector<std::tuple<std::vector<ProductTuple>, int>>& stages, int slots,
           int dslots) {
  CellDefinition cell{.name = name,
                      .states = states,
                      .params = params,
                      .slots = slots,
                      .dslots = dslots,
                      .input = input,
                      .recurrent = recurrent,
                      .opens = opens,
                      .stages = {},
                      .norms = {},
                      .constants = {}};
  for (const auto& [products, values] : stages)
    cell.stages.push_back({products_told(products), values, {}, {}});
  return define_device_cell(cell);
}

void forward(const NetworkCall& call, Address y, const Addresses& final, Address reserve,
             Address workspace, Address stream) {
  RNNFAST_CHECK(final.size() == call.states(), "final: expected one array per state");
  check_there("y", {y});
  check_there("final", final);
  check_there("workspace", {workspace});
  if (call.size.training) check_there("reserve", {reserve});
  network_forward(call.size, call.input, pointer<float>(y), pointers<float>(final),
                  pointer<void>(reserve), pointer<void>(workspace), device_properties(),
                  stream_at(stream));
}

void backward(const NetworkCall& call, Address dy, const Addresses& dfinal, Address dx,
              const Addresses& dinitial, const std::vector<std::array<Address, 5>>& dweights,
              Address reserve, Address workspace, Address stream) {
  RNNFAST_CHECK(dfinal.size() == call.states() && dinitial.size() == call.states(),
                "dfinal, dinitial: expected one array per state");
  RNNFAST_CHECK(dweights.size() == call.input.weights.size(),
                "dweights: expected one entry per layer and direction");
  RNNFAST_CHECK(call.size.training, "backward: expected a training call");
  for (const auto& w : weights_at<float>(dweights))
    check_weights(call.size.info(), call.size.input_size, "dweights", w);
  check_there("dinitial", dinitial);
  check_there("reserve", {reserve});
  check_there("workspace", {workspace});
  RNNFAST_CHECK(!dx || !call.input.indices, "dx: expected none, as indices have no gradient");
  network_backward(call.size, call.input, pointer<const float>(dy), pointers<const float>(dfinal),
                   pointer<float>(dx), pointers<float>(dinitial), weights_at<float>(dweights),
                   pointer<void>(reserve), pointer<void>(workspace), device_properties(),
                   stream_at(stream));
}

}  // namespace

void bind_rnn(py::module_& m) {
  using py::arg;
  py::class_<NetworkCall>(m, "Call", py::module_local(),
                          "The sizes and inputs of a call of a network.")
      .def_property_readonly(
          "reserve_bytes",
          [](const NetworkCall& c) { return forward_bytes(c.size, c.input).reserve; },
          "Number of bytes that forward keeps for backward.")
      .def_property_readonly(
          "forward_workspace_bytes",
          [](const NetworkCall& c) { return forward_bytes(c.size, c.input).workspace; },
          "Number of bytes of scratch memory that forward needs.")
      .def_property_readonly(
          "backward_workspace_bytes",
          [](const NetworkCall& c) { return backward_bytes(c.size, c.input).workspace; },
          "Number of bytes of scratch memory that backward needs.")
      .def("missing", &missing, py::kw_only(), arg("backward"),
           "Return the kernel that a pass needs but that is not loaded, and whether it multiplies "
           "pairs of bfloat16; None if nothing is missing.")
      .def("forward", &forward, py::kw_only(), arg("y"), arg("final"), arg("reserve"),
           arg("workspace"), arg("stream"), "Write y (T, B, D*H) and the final states.")
      .def("backward", &backward, py::kw_only(), arg("dy"), arg("dfinal"), arg("dx"),
           arg("dinitial"), arg("dweights"), arg("reserve"), arg("workspace"), arg("stream"),
           "Write dx and the gradients of the initial states, and add those of the weights to "
           "dweights.");
  m.def("network_call", &network_call, py::kw_only(), arg("cell"), arg("steps"), arg("batch"),
        arg("input_size"), arg("hidden_size"), arg("layers"), arg("directions"), arg("training"),
        arg("products"), arg("kernel"), arg("dropout"), arg("seed"), arg("x"), arg("indices"),
        arg("lengths"), arg("weights"), arg("initial"),
        "Return a call. `cell` is a number from find_cell or define_cell. Give either x (T, B, I) "
        "or indices (T, B), int64. `lengths` is (B,), int32; `products` is \"full\", "
        "\"bfloat16\" or \"bfloat16x3\"; `kernel` is the only kernel to use, or None; `weights` "
        "has five arrays per layer and direction; `initial` is (L*D, B, H) per state.");
  m.def("find_cell", &find_device_cell, arg("name"),
        "Return the number of a cell, or -1 if it is unknown.");
  m.def("define_cell", &define, arg("name"), arg("states"), arg("params"), arg("input"),
        arg("recurrent"), arg("opens"), arg("stages"), arg("slots"), arg("dslots"),
        "Add a cell and return its number. `stages` are (products, number of values).");
  m.def("functions", &functions, py::kw_only(), arg("cell"), arg("kernel"), arg("backward"),
        arg("paired"), arg("type"),
        "Return the header that defines the functions of a kernel, and their names for a cell of "
        "this C++ type.");
  m.def("load", &load, py::kw_only(), arg("cell"), arg("kernel"), arg("backward"), arg("paired"),
        arg("functions"), "Set the addresses of a kernel's functions on the current device.");
}

}  // namespace rnnfast::cuda
