#pragma once
// The arguments of a recurrent network, read from Python without conversions and cheaply: a short
// call takes microseconds. Each function returns whether the kernels can read its argument as it
// is. If not, Python converts the argument and calls again, or reports what is wrong with it.

#include <span>
#include <type_traits>
#include <vector>

#include "bindings/array.h"
#include "bindings/held.h"
#include "core/error.h"
#include "cpu/traced_cells.h"
#include "rnn/network.h"

namespace rnnfast {

namespace py = pybind11;

// The items of a list or tuple; empty for other objects.
class Items {
 public:
  explicit Items(py::handle object)
      : object_(object.ptr()), valid_(PyList_Check(object_) || PyTuple_Check(object_)) {}
  explicit operator bool() const { return valid_; }
  Index size() const { return PySequence_Fast_GET_SIZE(object_); }
  py::handle operator[](Index i) const { return PySequence_Fast_GET_ITEM(object_, i); }

 private:
  PyObject* object_;
  bool valid_;
};

// None becomes null. Arrays that will be written must be writable.
template <class T>
bool read_optional(py::handle object, std::span<const Index> shape, T*& data) {
  data = nullptr;
  if (object.is_none()) return true;
  if (!is_array<std::remove_const_t<T>>(object, shape)) return false;
  if (!std::is_const_v<T> && !is_writable(object)) return false;
  data = array_data<T>(object);
  return true;
}

template <class T>
bool read_optional(py::handle object, std::initializer_list<Index> shape, T*& data) {
  return read_optional(object, std::span<const Index>(shape.begin(), shape.size()), data);
}

// The number of weight arrays of a layer and direction; some may be None.
inline constexpr Index kWeights = 6;

bool read_seed(py::handle object, std::uint64_t& value);

// Throws Error if a network with a projection has noise inside its steps.
inline void check_projection(const NetworkSize& s) {
  RNNFAST_CHECK(!s.noise.zones() && !s.noise.recurrent_dropout && !s.noise.candidate_dropout,
                "weight_hr: expected none with zoneout, recurrent_dropout or candidate_dropout, "
                "which networks with a projection do not support");
}

// Throws Error if a sum of products of 8-bit integers might need more than 32 bits.
inline void check_depth(const char* name, Index depth, Precision precision) {
  constexpr Index most = 1 << 17;
  RNNFAST_CHECK(precision != Precision::int8 || depth <= most, name, ": expected at most ", most,
                " with precision int8, whose sums have 32 bits, got ", depth);
}

// Reads the sizes from the first layer's weights; returns false also if these are not matrices of
// T. With a projection, weight_hh has as many columns as h, and weight_hr has one per unit.
template <class T>
bool read_sizes(const Items& weights, NetworkSize& s) {
  if (!weights || weights.size() == 0) return false;
  const Items first(weights[0]);
  if (!first || first.size() < 2 || !is_array<T>(first[0]) || !is_array<T>(first[1])) return false;
  if (py::detail::array_proxy(first[0].ptr())->nd != 2 ||
      py::detail::array_proxy(first[1].ptr())->nd != 2)
    return false;
  s.input_size = array_size(first[0], 1);
  s.hidden_size = array_size(first[1], 1);
  if (first.size() == kWeights && !first[kWeights - 1].is_none()) {
    check_projection(s);
    const py::handle weight_hr = first[kWeights - 1];
    if (!is_array<T>(weight_hr) || py::detail::array_proxy(weight_hr.ptr())->nd != 2 ||
        !known_cell(s.cell).projects)
      return false;
    s.proj_size = array_size(weight_hr, 0);
    s.hidden_size = array_size(weight_hr, 1);
    if (s.proj_size < 1) return false;
  }
  check_depth("input_size", s.input_size, s.precision);
  check_depth("hidden_size", s.hidden_size * s.num_directions, s.precision);
  return s.input_size >= 1 && s.hidden_size >= 1;
}

// Reads weights, or arrays of the same shapes to write to, any of which may be None. Adds the
// arrays to `held`, None included.
template <class T>
bool read_weights(const char* name, const Items& weights, const NetworkSize& s,
                  std::vector<CellWeights<T>>& result, HeldArrays& held) {
  if (!weights || weights.size() != s.cells()) return false;
  const bool reads_input = known_cell(s.cell).reads_input();
  for (Index i = 0; i < s.cells(); ++i) {
    const Items w(weights[i]);
    if (!w || w.size() != kWeights) return false;
    if (reads_input && s.layer_input(i / s.num_directions) != s.hidden_size) return false;
    const WeightShapes shapes = s.weight_shapes(i);
    const auto read = [&](Index k, const WeightShape& shape, T*& data) {
      return read_optional(w[k], shape.span(), data);
    };
    if (std::is_const_v<T> &&
        (w[0].is_none() || w[1].is_none() || w[4].is_none() != !shapes.weight_channel.axes ||
         w[5].is_none() != !shapes.weight_hr.axes))
      return false;
    CellWeights<T>& to = result.emplace_back();
    if (!read(0, shapes.weight_ih, to.weight_ih) || !read(1, shapes.weight_hh, to.weight_hh) ||
        !read(2, shapes.bias_ih, to.bias_ih) || !read(3, shapes.bias_hh, to.bias_hh) ||
        !read(4, shapes.weight_channel, to.weight_channel) ||
        !read(5, shapes.weight_hr, to.weight_hr))
      return false;
    for (Index k = 0; k < w.size(); ++k) held.add(name, w[k]);
  }
  return true;
}

// Reads states of `rows` rows; None stands for zeros, for all states or for one. Adds the arrays to
// `held`.
template <class T>
bool read_state(const char* name, py::handle state, const NetworkSize& s, Index rows,
                std::vector<const T*>& result, HeldArrays& held) {
  const int states = known_cell(s.cell).states;
  result.assign(states, nullptr);
  if (state.is_none()) return true;
  const Items items(state);
  if (!items || items.size() != states) return false;
  for (int i = 0; i < states; ++i) {
    if (!read_optional(items[i], {s.cells(), rows, s.state_size(i)}, result[i])) return false;
    held.add(name, items[i]);
  }
  return true;
}

// Reads what a context adds to the gates, or arrays of the same shapes to write to. None leaves the
// result empty. Adds the arrays to `held`.
template <class T>
bool read_context(const char* name, py::handle context, const NetworkSize& s,
                  NetworkContext<T>& result, HeldArrays& held) {
  if (context.is_none()) return true;
  const Items items(context);
  if (!items || items.size() != s.cells() || !is_array<std::remove_const_t<T>>(items[0]))
    return false;
  result.by_step = py::detail::array_proxy(items[0].ptr())->nd == 3;
  const Index shape[] = {s.seq_len, s.batch, known_cell(s.cell).input_gates() * s.hidden_size};
  for (Index i = 0; i < items.size(); ++i) {
    T* gates = nullptr;
    if (items[i].is_none() ||
        !read_optional(items[i], std::span(shape).subspan(result.by_step ? 0 : 1), gates))
      return false;
    result.gates.push_back(gates);
    held.add(name, items[i]);
  }
  return true;
}

// Where each sequence ends, and where its episodes start; both are empty for None.
struct Spans {
  std::vector<Index> lengths;
  std::vector<unsigned char> reset;  // (T, B)

  PackedBatch packed(const NetworkSize& s) const { return {s.seq_len, s.batch, lengths, reset}; }
};

// Copies the lengths and resets, as the arrays may change during the call.
bool read_spans(py::handle lengths, py::handle reset, const NetworkSize& s, Spans& spans);

// Reads the initial states. If there are resets, they may have one more row, for the state that
// resets set.
template <class T>
bool read_initial(py::handle state, py::handle reset, NetworkSize& s, std::vector<const T*>& result,
                  HeldArrays& held) {
  const Items items(state);
  for (Index i = 0; items && !reset.is_none() && i < items.size(); ++i)
    if (is_array<T>(items[i]) && py::detail::array_proxy(items[i].ptr())->nd == 3)
      s.has_reset_state = array_size(items[i], 1) == s.batch + 1;
  return read_state("state", state, s, s.initial_rows(), result, held);
}

}  // namespace rnnfast
