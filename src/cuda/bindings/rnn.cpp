// Recurrent networks, by address.
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

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

// A call's sizes and inputs, made once for forward and backward.
struct NetworkCall {
  NetworkSize size;
  NetworkInput input;

  std::size_t states() const { return std::size_t(size.info().states); }
};

NetworkCall make_call(int cell, int steps, int batch, int input_size, int hidden_size, int layers,
                      int directions, bool training, const std::string& products,
                      const std::optional<std::string>& kernel, double dropout, std::uint64_t seed,
                      Address x, Address indices, Address lengths,
                      const std::vector<std::array<Address, 5>>& weights,
                      const Addresses& initial) {
  std::optional<Kernel> only;
  if (kernel) only = kernel_named(*kernel);
  NetworkCall call{
      {cell, steps, batch, input_size, hidden_size, layers, directions, training, lengths != 0,
       products_named(products), dropout, seed, only},
      {pointer<const float>(x), pointer<const std::int64_t>(indices), pointer<const int>(lengths),
       weights_at<const float>(weights), pointers<const float>(initial)}};
  RNNFAST_CHECK(long(call.input.weights.size()) == call.size.cells(),
                "weights: expected one entry for each layer and direction");
  RNNFAST_CHECK(call.input.initial.size() == call.states(), "initial: expected one for each state");
  return call;
}

void forward(const NetworkCall& call, Address y, const Addresses& final, Address reserve,
             Address workspace, Address stream) {
  RNNFAST_CHECK(final.size() == call.states(), "final: expected one for each state");
  network_forward(call.size, call.input, pointer<float>(y), pointers<float>(final),
                  pointer<void>(reserve), pointer<void>(workspace), device_properties(),
                  stream_at(stream));
}

void backward(const NetworkCall& call, Address dy, const Addresses& dfinal, Address dx,
              const Addresses& dinitial, const std::vector<std::array<Address, 5>>& dweights,
              Address reserve, Address workspace, Address stream) {
  RNNFAST_CHECK(dfinal.size() == call.states() && dinitial.size() == call.states(),
                "dfinal, dinitial: expected one for each state");
  RNNFAST_CHECK(dweights.size() == call.input.weights.size(),
                "dweights: expected one entry for each layer and direction");
  network_backward(call.size, call.input, pointer<const float>(dy), pointers<const float>(dfinal),
                   pointer<float>(dx), pointers<float>(dinitial), weights_at<float>(dweights),
                   pointer<void>(reserve), pointer<void>(workspace), device_properties(),
                   stream_at(stream));
}

}  // namespace

void bind_rnn(py::module_& m) {
  using py::arg;
  py::class_<NetworkCall>(m, "Call", py::module_local(), "A network's sizes and what goes in.")
      .def(py::init(&make_call), py::kw_only(), arg("cell"), arg("steps"), arg("batch"),
           arg("input_size"), arg("hidden_size"), arg("layers"), arg("directions"), arg("training"),
           arg("products"), arg("kernel"), arg("dropout"), arg("seed"), arg("x"), arg("indices"),
           arg("lengths"), arg("weights"), arg("initial"),
           "`cell` is a place in the registry; x (T, B, I) or else indices (T, B), int64; lengths "
           "(B,), int32; products \"full\", \"bfloat16\" or \"bfloat16x3\"; kernel: the only one "
           "to run, or None; five weights of each layer and direction; (L*D, B, H) of each state.")
      .def_property_readonly(
          "reserve_bytes",
          [](const NetworkCall& c) { return forward_bytes(c.size, c.input).reserve; },
          "Bytes that forward keeps for backward.")
      .def_property_readonly(
          "forward_workspace_bytes",
          [](const NetworkCall& c) { return forward_bytes(c.size, c.input).workspace; },
          "Bytes of scratch of forward.")
      .def_property_readonly(
          "backward_workspace_bytes",
          [](const NetworkCall& c) { return backward_bytes(c.size, c.input).workspace; },
          "Bytes of scratch of backward.")
      .def("forward", &forward, py::kw_only(), arg("y"), arg("final"), arg("reserve"),
           arg("workspace"), arg("stream"), "Writes y (T, B, D*H) and the final states.")
      .def("backward", &backward, py::kw_only(), arg("dy"), arg("dfinal"), arg("dx"),
           arg("dinitial"), arg("dweights"), arg("reserve"), arg("workspace"), arg("stream"),
           "Writes dx and the gradients of the initial states, adds those of the weights.");
}

}  // namespace rnnfast::cuda
