// Recurrent networks as functions that XLA calls without Python, for rnnfast.jax: forward and
// backward of any cell, on the memory of XLA's arrays. Even the reserve is such an array.
//
// Arguments of both: x, the weights, the states if `has_state`, and the lengths if `has_lengths`.
// Backward goes on with the reserve and the gradients of those results that `given` marks with '1'.
// Results of forward: y, the final states, and the reserve if `training`. Those of backward: the
// gradients of those of x, weights and states that `wanted` marks.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <exception>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/module.h"
#include "bindings/rnn_options.h"
#include "bindings/xla_ffi.h"
#include "core/error.h"
#include "core/memory.h"
#include "cpu/traced_cells.h"
#include "rnn/network.h"

namespace rnnfast {
namespace {

template <class T>
constexpr xla::Type kType{};
template <>
constexpr xla::Type kType<float> = xla::Type::f32;
template <>
constexpr xla::Type kType<double> = xla::Type::f64;
template <>
constexpr xla::Type kType<std::int32_t> = xla::Type::s32;
template <>
constexpr xla::Type kType<std::byte> = xla::Type::u8;

// The attributes of a call by name.
class Attributes {
 public:
  explicit Attributes(const xla::Attributes& attributes) : attributes_(attributes) {}

  std::string_view text(std::string_view name) const {
    const auto* bytes = static_cast<const xla::Bytes*>(find(name, xla::kString));
    return {bytes->data, bytes->size};
  }
  Index integer(std::string_view name) const { return scalar<std::int64_t>(name, xla::Type::s64); }
  bool boolean(std::string_view name) const { return scalar<bool>(name, xla::Type::boolean); }

 private:
  template <class V>
  V scalar(std::string_view name, xla::Type type) const {
    const auto* found = static_cast<const xla::Scalar*>(find(name, xla::kScalar));
    RNNFAST_CHECK(found->type == type, name, ": expected another type of attribute");
    return *static_cast<const V*>(found->value);
  }
  const void* find(std::string_view name, int kind) const {
    for (std::int64_t i = 0; i < attributes_.count; ++i) {
      const xla::Bytes& other = *attributes_.names[i];
      if (attributes_.kinds[i] == kind && name == std::string_view(other.data, other.size))
        return attributes_.items[i];
    }
    throw_error(name, ": expected an attribute of this name and its type, got none");
  }

  const xla::Attributes& attributes_;
};

// Takes the arguments, or the results, of a call one after the other.
class Arrays {
 public:
  Arrays(const char* what, const xla::Buffers& arrays) : what_(what), arrays_(arrays) {}

  const xla::Buffer& next() {
    RNNFAST_CHECK(next_ < arrays_.count, what_, ": expected more than ", arrays_.count);
    return *arrays_.items[next_++];
  }
  // The next one, which must have this type and shape.
  template <class T>
  T* take(std::span<const Index> shape) {
    const xla::Buffer& array = next();
    RNNFAST_CHECK(array.type == kType<std::remove_const_t<T>> &&
                      std::ranges::equal(shape, std::span(array.dims, std::size_t(array.rank))),
                  what_, "[", next_ - 1, "]: expected an array of another type or shape");
    return static_cast<T*>(array.data);
  }
  template <class T>
  T* take(std::initializer_list<Index> shape) {
    return take<T>(std::span(shape.begin(), shape.size()));
  }
  std::span<std::byte> take_bytes() {
    const xla::Buffer& array = next();
    RNNFAST_CHECK(array.type == kType<std::byte> && array.rank == 1, what_, "[", next_ - 1,
                  "]: expected an array of bytes");
    return {static_cast<std::byte*>(array.data), std::size_t(array.dims[0])};
  }

 private:
  const char* what_;
  const xla::Buffers& arrays_;
  std::int64_t next_ = 0;
};

NetworkSize read_size(const Attributes& attributes, const xla::Buffer& x) {
  NetworkSize size;
  const std::string_view name = attributes.text("cell");
  const std::optional<int> cell = find_cell(name);
  const std::optional<Precision> precision = precision_named(attributes.text("precision"));
  RNNFAST_CHECK(cell, "cell: expected one that this process has defined, got ", name);
  RNNFAST_CHECK(precision, "precision: expected that of rnnfast.jax");
  RNNFAST_CHECK(x.rank == 3, "x: expected 3 axes, got ", x.rank);
  size.cell = *cell;
  size.precision = *precision;
  size.num_layers = attributes.integer("num_layers");
  size.num_directions = attributes.integer("num_directions");
  size.hidden_size = attributes.integer("hidden_size");
  size.proj_size = attributes.integer("proj_size");
  size.seq_len = x.dims[0];
  size.batch = x.dims[1];
  size.input_size = x.dims[2];
  RNNFAST_CHECK(size.num_layers >= 1 && size.hidden_size >= 1 && size.proj_size >= 0 &&
                    (size.num_directions == 1 || size.num_directions == 2),
                "num_layers, num_directions, hidden_size, proj_size: expected those of a network");
  return size;
}

// Calls fn with each weight of the network and its shape, in the order of the arguments.
template <class T, class F>
void for_weights(const NetworkSize& size, bool bias, std::vector<CellWeights<T>>& weights, F&& fn) {
  weights.assign(std::size_t(size.cells()), {});
  for (Index i = 0; i < size.cells(); ++i) {
    const WeightShapes shapes = size.weight_shapes(i);
    CellWeights<T>& w = weights[std::size_t(i)];
    fn(w.weight_ih, shapes.weight_ih);
    fn(w.weight_hh, shapes.weight_hh);
    if (bias) fn(w.bias_ih, shapes.bias_ih);
    if (bias) fn(w.bias_hh, shapes.bias_hh);
    if (shapes.weight_channel.axes) fn(w.weight_channel, shapes.weight_channel);
    if (shapes.weight_hr.axes) fn(w.weight_hr, shapes.weight_hr);
  }
}

template <class T>
T* take_state(Arrays& arrays, const NetworkSize& size, int state) {
  return arrays.take<T>({size.cells(), size.batch, size.state_size(state)});
}

// What both functions begin with.
template <class T>
struct Call {
  Call(const Attributes& attributes, NetworkSize s, Arrays& arguments)
      : size(std::move(s)),
        bias(attributes.boolean("bias")),
        has_state(attributes.boolean("has_state")),
        states(known_cell(size.cell).states) {
    input.x = arguments.take<const T>({size.seq_len, size.batch, size.input_size});
    for_weights(size, bias, input.weights, [&](const T*& weight, const WeightShape& shape) {
      weight = arguments.take<const T>(shape.span());
    });
    for (int state = 0; state < states; ++state)
      input.initial.push_back(has_state ? take_state<const T>(arguments, size, state) : nullptr);
    if (!attributes.boolean("has_lengths")) return;
    const auto* given = arguments.take<const std::int32_t>({size.batch});
    lengths.assign(given, given + size.batch);
  }
  PackedBatch packed() const { return {size.seq_len, size.batch, lengths}; }
  // The part of an array of bytes that holds the reserve. XLA must know the size of the array in
  // advance, so it has room for sequences of any lengths.
  std::span<std::byte> reserve_in(std::span<std::byte> bytes) const {
    const std::size_t needed = Reserve<T>::bytes(size, packed(), input, nullptr);
    RNNFAST_CHECK(needed <= bytes.size(), "reserve: expected at least ", needed, " bytes, got ",
                  bytes.size(), "; was the function exported for another kind of CPU?");
    return bytes.first(needed);
  }

  NetworkSize size;
  bool bias, has_state;
  int states;
  NetworkInput<T> input{};
  std::vector<Index> lengths;
};

template <class T>
void forward(const Attributes& attributes, NetworkSize size, Arrays arguments, Arrays results) {
  size.training = size.keep_y = attributes.boolean("training");
  const Call<T> call(attributes, std::move(size), arguments);
  const NetworkSize& s = call.size;
  T* y = results.take<T>({s.seq_len, s.batch, s.y_size()});
  std::vector<T*> final;
  for (int state = 0; state < call.states; ++state)
    final.push_back(take_state<T>(results, s, state));
  std::optional<std::span<std::byte>> reserve;
  if (s.training) {
    reserve = call.reserve_in(results.take_bytes());
    ask_for_huge_pages(*reserve);  // 7% of a training step of 512 units
  }
  PreparedForward<T>(s, call.packed(), call.input, y, final, reserve).run();
}

// Which arrays of a list are there, in their order.
class Marks {
 public:
  Marks(std::string_view marks) : marks_(marks) {}
  bool next() {
    RNNFAST_CHECK(next_ < marks_.size(), "given, wanted: expected a mark for each array");
    return marks_[next_++] == '1';
  }

 private:
  std::string_view marks_;
  std::size_t next_ = 0;
};

template <class T>
void backward(const Attributes& attributes, NetworkSize size, Arrays arguments, Arrays results) {
  size.training = size.keep_y = true;
  const Call<T> call(attributes, std::move(size), arguments);
  const NetworkSize& s = call.size;
  const Reserve<T> reserve(s, call.packed(), call.input, nullptr, 1,
                           call.reserve_in(arguments.take_bytes()));
  Marks given(attributes.text("given")), wanted(attributes.text("wanted"));
  const T* dy = given.next() ? arguments.take<const T>({s.seq_len, s.batch, s.y_size()}) : nullptr;
  std::vector<const T*> dfinal;
  for (int state = 0; state < call.states; ++state)
    dfinal.push_back(given.next() ? take_state<const T>(arguments, s, state) : nullptr);
  T* dx = wanted.next() ? results.take<T>({s.seq_len, s.batch, s.input_size}) : nullptr;
  std::vector<CellWeights<T>> dweights;
  for_weights(s, call.bias, dweights, [&](T*& gradient, const WeightShape& shape) {
    gradient = wanted.next() ? results.take<T>(shape.span()) : nullptr;
  });
  std::vector<Buffer> unwanted;  // the engine always computes the gradients of states
  std::vector<T*> dinitial;
  for (int state = 0; state < call.states; ++state) {
    if (call.has_state && wanted.next()) {
      dinitial.push_back(take_state<T>(results, s, state));
      continue;
    }
    const Index count = s.cells() * s.batch * s.state_size(state);
    unwanted.push_back(Buffer::allocate(std::size_t(count) * sizeof(T)));
    dinitial.push_back(unwanted.back().as<T>());
  }
  network_backward<T>(reserve, call.input, dy, dfinal, dx, dinitial, dweights, false, {});
}

// Tells XLA which version of its interface a handler uses. Whatever the minor version, the fields
// that exist here are the same. Before 0.2, XLA asks without its own functions.
bool asks_metadata(xla::CallFrame* frame) {
  if (!frame->extensions || frame->extensions->kind != xla::kMetadata) return false;
  xla::Metadata& metadata = *reinterpret_cast<xla::MetadataExtension*>(frame->extensions)->metadata;
  metadata.version.major = xla::kMajorVersion;
  metadata.version.minor = frame->api ? frame->api->version.minor : 1;
  metadata.traits = 0;
  return true;
}

xla::Error* error_of(const xla::CallFrame* frame, int code, const char* message) {
  xla::ErrorToCreate error{sizeof(xla::ErrorToCreate), nullptr, message, code};
  return frame->api->create_error(&error);
}

using Function = void (*)(const Attributes&, NetworkSize, Arrays, Arrays);

template <Function kFloat, Function kDouble>
xla::Error* handle(xla::CallFrame* frame) noexcept {
  if (asks_metadata(frame)) return nullptr;
  try {
    const Attributes attributes(frame->attributes);
    const Arrays arguments("arguments", frame->arguments), results("results", frame->results);
    const xla::Buffer& x = Arrays(arguments).next();
    const Function function = x.type == xla::Type::f64 ? kDouble : kFloat;
    function(attributes, read_size(attributes, x), arguments, results);
  } catch (const Error& error) {
    return error_of(frame, xla::kInvalidArgument, error.what());
  } catch (const std::bad_alloc&) {
    return error_of(frame, xla::kResourceExhausted, "rnnfast: out of memory");
  } catch (const std::exception& error) {
    return error_of(frame, xla::kInternal, error.what());
  }
  return nullptr;
}

template <class T>
std::size_t reserve_bytes_of(const NetworkSize& size, bool has_lengths) {
  const NetworkInput<T> input{};
  const std::size_t dense = Reserve<T>::bytes(size, {size.seq_len, size.batch, {}}, input, nullptr);
  const std::size_t x = std::size_t(size.seq_len * size.batch * size.input_size) * sizeof(T);
  return dense + (has_lengths ? (x + 63) / 64 * 64 : 0);  // x is packed if lengths differ
}

std::size_t reserve_bytes(const NetworkOptions& options, Index seq_len, Index batch,
                          Index input_size, Index hidden_size, Index proj_size, bool is_double,
                          bool has_lengths) {
  NetworkSize size{options};
  size.seq_len = seq_len;
  size.batch = batch;
  size.input_size = input_size;
  size.hidden_size = hidden_size;
  size.proj_size = proj_size;
  return is_double ? reserve_bytes_of<double>(size, has_lengths)
                   : reserve_bytes_of<float>(size, has_lengths);
}

template <Function kFloat, Function kDouble>
pybind11::capsule capsule() {
  return pybind11::capsule(reinterpret_cast<void*>(&handle<kFloat, kDouble>));
}

}  // namespace

void bind_xla(pybind11::module_& m) {
  using pybind11::arg;
  m.def(
      "xla_handlers",
      [] {
        return std::pair(capsule<forward<float>, forward<double>>(),
                         capsule<backward<float>, backward<double>>());
      },
      "Return forward and backward as handlers of XLA's foreign function interface.");
  m.def("xla_reserve_bytes", &reserve_bytes, arg("options"), arg("seq_len"), arg("batch"),
        arg("input_size"), arg("hidden_size"), arg("proj_size"), arg("is_double"),
        arg("has_lengths"),
        "Return the size of an array with room for the reserve of a training call with keep_y.");
}

}  // namespace rnnfast
