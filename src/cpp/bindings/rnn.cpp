// Recurrent networks on NumPy arrays. Two functions, forward and backward, serve every cell. They
// accept only arguments that the kernels can read as they are, and check them so that no call
// touches memory outside its arrays. For anything else they return None, and Python converts the
// arguments or raises a full error.
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/array.h"
#include "bindings/gradients.h"
#include "bindings/module.h"
#include "bindings/object.h"
#include "bindings/packed.h"
#include "bindings/rnn_arguments.h"
#include "bindings/rnn_options.h"
#include "bindings/rnn_reserve.h"
#include "core/error.h"
#include "core/threads.h"
#include "rnn/network.h"

namespace rnnfast {
namespace {

// New arrays (L*D, rows, H) for each of the cell's states; (L*D, rows, P) for a projected h.
template <class T>
struct NewState {
  NewState(const NetworkSize& s, Index rows) : arrays(std::size_t(known_cell(s.cell).states)) {
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      Array<T> array = new_array<T>({s.cells(), rows, s.state_size(int(i))});
      data.push_back(array.mutable_data());
      arrays[i] = std::move(array);
    }
  }
  py::tuple arrays;
  std::vector<T*> data;
};

// Reads x, (T, B, I) reals or (T, B) indices, which sets the sequence length and batch. Throws
// IndexError for an index out of range. Indices are copied, because later calls reread them.
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

// Reads the weights, or packed weights in their place, and sets the sizes that follow from them.
template <class T>
bool read_network(py::handle weights, const PyPacked* packed, NetworkSize& s,
                  NetworkInput<T>& input, HeldArrays& held) {
  if (!std::is_same_v<T, float> && s.precision != Precision::full) return false;
  if (packed) {
    const NetworkSize& p = packed->size();
    s.input_size = p.input_size;
    s.hidden_size = p.hidden_size;
    s.proj_size = p.proj_size;
    if (s.proj_size) check_projection(s);
    input.packed = packed->of<T>();
    const bool rereads = s.training && !known_cell(s.cell).observes;  // backward reads weights
    return input.packed && !rereads && s.cell == p.cell && s.num_layers == p.num_layers &&
           s.num_directions == p.num_directions && s.precision == p.precision;
  }
  const Items items(weights);
  return read_sizes<T>(items, s) && read_weights("weights", items, s, input.weights, held);
}

template <class T>
py::object forward_of(NetworkSize& size, py::handle x, py::handle weights, const PyPacked* packed,
                      py::handle state, py::handle lengths, py::handle reset, py::handle context) {
  NetworkInput<T> input{};
  HeldArrays held;
  Buffer indices;
  Spans spans;
  if (!read_network(weights, packed, size, input, held) || !read_x(x, size, input, held, indices) ||
      !read_initial(state, reset, size, input.initial, held) ||
      !read_spans(lengths, reset, size, spans))
    return py::none();
  const std::size_t before_context = held.size();
  if (!read_context("context_gates", context, size, input.context, held)) return py::none();

  Array<T> y = new_array<T>({size.seq_len, size.batch, size.y_size()});
  NewState<T> final(size, size.batch);
  T* y_data = y.mutable_data();
  Reserve<T> reserve = [&] {
    const WithoutGil released(network_work(size), held);
    return network_forward(size, spans.packed(size), input, y_data, final.data);
  }();
  py::object kept = py::none();
  if (size.training) {
    if (size.recompute == 0) {  // backward does not read the context
      input.context = {};
      held.drop_from(before_context);
    }
    if (!size.keep_y) held.add("y", y);
    kept = new_object<PyReserve>(
        Kept<T>{std::move(reserve), std::move(input), std::move(held), std::move(indices)});
    if (!size.keep_y) kept.cast<PyReserve&>().sign();  // PyTorch checks its saved tensors itself
  }
  return py::make_tuple(std::move(y), std::move(final.arrays), std::move(kept));
}

py::object forward(const NetworkOptions& options, py::handle x, py::handle weights,
                   py::handle state, py::handle lengths, py::handle reset, py::handle seed,
                   py::handle context) {
  const ThreadLimit limit(options.threads);
  NetworkSize size{options};
  if (!read_seed(seed, size.seed)) return py::none();
  const Items items(weights);
  const bool is_packed = !items && py::isinstance<PyPacked>(weights);
  const PyPacked* packed = is_packed ? py::cast<const PyPacked*>(weights) : nullptr;
  const bool is_double = packed ? packed->of<double>() != nullptr : read_sizes<double>(items, size);
  return is_double ? forward_of<double>(size, x, weights, packed, state, lengths, reset, context)
                   : forward_of<float>(size, x, weights, packed, state, lengths, reset, context);
}

template <class T>
py::object restore_of(NetworkSize& size, py::handle x, py::handle weights, py::handle state,
                      py::handle lengths, py::handle reset, py::handle memory) {
  NetworkInput<T> input{};
  HeldArrays held;
  Buffer indices;
  Spans spans;
  if (!read_network(weights, nullptr, size, input, held) ||
      !read_x(x, size, input, held, indices) ||
      !read_initial(state, reset, size, input.initial, held) ||
      !read_spans(lengths, reset, size, spans) || !is_array<std::uint8_t>(memory))
    return py::none();
  const std::span bytes(array_data<std::byte>(memory), std::size_t(py::len(memory)));
  Reserve<T> reserve(size, spans.packed(size), input, nullptr, 1, bytes);
  held.add("memory", memory);
  return new_object<PyReserve>(
      Kept<T>{std::move(reserve), std::move(input), std::move(held), std::move(indices)});
}

py::object restore(const NetworkOptions& options, py::handle x, py::handle weights,
                   py::handle state, py::handle lengths, py::handle reset, py::handle seed,
                   py::handle memory) {
  RNNFAST_CHECK(options.keep_y && options.recompute == 0,
                "options: expected training and keep_y, without recompute");
  NetworkSize size{options};
  if (!read_seed(seed, size.seed)) return py::none();
  return read_sizes<double>(Items(weights), size)
             ? restore_of<double>(size, x, weights, state, lengths, reset, memory)
             : restore_of<float>(size, x, weights, state, lengths, reset, memory);
}

template <class T>
py::object pack_of(NetworkSize size, py::handle weights) {
  NetworkInput<T> input{};
  HeldArrays held;
  if (!read_network(weights, nullptr, size, input, held)) return py::none();
  return new_object<PyPacked>(size, network_pack(size, input.weights));
}

py::object pack(const NetworkOptions& options, py::handle weights) {
  NetworkSize size{options};
  const bool is_double = read_sizes<double>(Items(weights), size);
  return is_double ? pack_of<double>(size, weights) : pack_of<float>(size, weights);
}

template <class T>
py::list new_gradients(const NetworkSize& s, const std::vector<CellWeights<const T>>& weights,
                       std::vector<CellWeights<T>>& data) {
  py::list gradients{weights.size()};
  data.resize(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i)
    gradients[i] = new_gradients(s.weight_shapes(Index(i)), weights[i], data[i]);
  return gradients;
}

// Reads the caller's arrays for the gradients, which must not exist for missing weights.
template <class T>
bool read_gradients(py::handle dweights, const NetworkSize& s,
                    const std::vector<CellWeights<const T>>& weights,
                    std::vector<CellWeights<T>>& data, HeldArrays& held) {
  if (!read_weights("dweights", Items(dweights), s, data, held)) return false;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const CellWeights<T>& to = data[i];
    const CellWeights<const T>& of = weights[i];
    if ((to.bias_ih && !of.bias_ih) || (to.bias_hh && !of.bias_hh) ||
        (to.weight_channel && !of.weight_channel) || (to.weight_hr && !of.weight_hr))
      return false;
  }
  return true;
}

template <class T>
py::object backward_of(const PyReserve& reserve, Kept<T>& kept, py::handle dy, py::handle dstate,
                       bool need_dx, py::handle dweights, py::handle dcontext) {
  const NetworkSize& size = kept.reserve.size;
  RNNFAST_CHECK(!known_cell(size.cell).observes,
                "reserve: expected that of a cell with gradients, got one of a form that observes");
  const bool adds = !dweights.is_none();
  const T* dy_data = nullptr;
  std::vector<const T*> dfinal;
  std::vector<CellWeights<T>> gradient_data;
  NetworkContext<T> context{};
  HeldArrays held;
  if (!read_optional(dy, {size.seq_len, size.batch, size.y_size()}, dy_data) ||
      !read_state("dstate", dstate, size, size.batch, dfinal, held) ||
      (adds && !read_gradients(dweights, size, kept.input.weights, gradient_data, held)) ||
      !read_context("dcontext_gates", dcontext, size, context, held))
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
  NewState<T> dinitial(size, size.initial_rows());
  py::object gradients = py::none();
  if (!adds) gradients = new_gradients(size, kept.input.weights, gradient_data);
  {
    const WithoutGil released(2 * network_work(size), kept.held, &held);
    network_backward(kept.reserve, kept.input, dy_data, dfinal, dx_data, dinitial.data,
                     gradient_data, adds, context);
  }
  return py::make_tuple(std::move(dx), std::move(dinitial.arrays), std::move(gradients));
}

py::object backward(PyReserve& reserve, py::handle dy, py::handle dstate, bool need_dx,
                    py::handle dweights, py::handle dcontext) {
  const ThreadLimit limit(reserve.size().threads);
  return reserve.visit([&](auto& kept) {
    return backward_of(reserve, kept, dy, dstate, need_dx, dweights, dcontext);
  });
}

}  // namespace

void bind_rnn(py::module_& m) {
  py::class_<PyPacked>(m, "Packed",
                       "A copy of a network's weights in the layout that the kernels read, made by "
                       "`rnnfast.functional.pack`. Later changes to the weights do not affect it.")
      .def_property_readonly("nbytes", &PyPacked::nbytes, "Size of the copy in bytes.")
      .def_property_readonly("dtype", &PyPacked::dtype, "Name of its dtype.")
      .def_property_readonly(
          "cell", [](const PyPacked& p) { return known_cell(p.size().cell).name; },
          "Name of the cell.")
      .def_property_readonly(
          "input_size", [](const PyPacked& p) { return p.size().input_size; }, "I.")
      .def_property_readonly(
          "hidden_size", [](const PyPacked& p) { return p.size().hidden_size; }, "H.")
      .def_property_readonly(
          "proj_size", [](const PyPacked& p) { return p.size().proj_size; },
          "P, the size of a projected h; 0 without a projection.")
      .def_property_readonly(
          "num_layers", [](const PyPacked& p) { return p.size().num_layers; }, "L.")
      .def_property_readonly(
          "bidirectional", [](const PyPacked& p) { return p.size().num_directions == 2; },
          "Whether D is 2.")
      .def_property_readonly(
          "precision", [](const PyPacked& p) { return precision_name(p.size().precision); },
          "Precision of the products.");
  using py::arg;
  m.def("forward", &forward, arg("options"), arg("x"), arg("weights"), arg("state"), arg("lengths"),
        arg("reset"), arg("seed"), arg("context_gates") = py::none(),
        "Return y, the final states and, if training, the reserve; None if an argument is not "
        "exactly what the kernels read. Backward reads y, so y must not change before it, unless "
        "the options make the reserve keep a copy.");
  m.def("restore", &restore, arg("options"), arg("x"), arg("weights"), arg("state"), arg("lengths"),
        arg("reset"), arg("seed"), arg("memory"),
        "Return the reserve of an earlier training call, from its arguments and the bytes of its "
        "reserve. The options of the call must have keep_y and no recompute. None as for forward.");
  m.def("backward", &backward, arg("reserve"), arg("dy"), arg("dstate"), arg("need_dx"),
        arg("dweights"), arg("dcontext_gates") = py::none(),
        "Return dx and the gradients of the initial states and the weights. If dweights is given, "
        "the latter are added to its arrays, and not computed where it has None; None is returned "
        "in their place. Those of context_gates are added to dcontext_gates, if given. None as for "
        "forward.");
  m.def("pack", &pack, arg("options"), arg("weights"),
        "Return packed weights; None as for forward.");
}

}  // namespace rnnfast
