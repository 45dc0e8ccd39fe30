#pragma once
// A training forward pass as Python holds it: the reserve, and the arrays that backward rereads.

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/array.h"
#include "bindings/rnn_arguments.h"
#include "rnn/masks.h"
#include "rnn/network.h"

namespace rnnfast {

namespace py = pybind11;

template <class T>
constexpr const char* kDtype = sizeof(T) == 4 ? "float32" : "float64";

// The results of a training forward pass: the reserve, and the arrays that backward rereads.
template <class T>
struct Kept {
  Reserve<T> reserve;
  NetworkInput<T> input;
  HeldArrays held;  // the arrays of the input, weights first, and y
  Buffer indices;   // the input's, if x is integers
};

// Fingerprints of the arrays that backward rereads: the caller's, and the y that the caller got.
struct Fingerprints {
  std::uint64_t x, state, weights, context, y;
};

class PyReserve {
 public:
  template <class T>
  explicit PyReserve(Kept<T> kept) : kept_(std::move(kept)) {}

  const NetworkSize& size() const {
    return std::visit([](const auto& k) -> const NetworkSize& { return k.reserve.size; }, kept_);
  }
  std::size_t nbytes() const {
    return std::visit([](const auto& k) { return k.reserve.memory.size(); }, kept_);
  }
  bool indexed() const {
    return std::visit([](const auto& k) { return k.input.x == nullptr; }, kept_);
  }
  const char* dtype() const {
    return std::visit([](const auto& k) { return dtype_of(k); }, kept_);
  }
  // `kWeights` arrays of each layer and direction.
  py::list weights() const {
    const auto& held = std::visit([](const auto& k) -> const auto& { return k.held; }, kept_);
    py::list result;
    for (std::size_t w = 0; Index(result.size()) < size().cells(); w += kWeights) {
      py::tuple of_layer(kWeights);
      for (std::size_t k = 0; k < kWeights; ++k) of_layer[k] = held[w + k];
      result.append(std::move(of_layer));
    }
    return result;
  }
  // Takes the fingerprints of the arrays.
  void sign();
  // Throws std::runtime_error if the arrays changed since the reserve was signed.
  void check_unchanged() const;

  template <class F>
  auto visit(F&& f) {
    return std::visit(f, kept_);
  }

 private:
  template <class T>
  static const char* dtype_of(const Kept<T>&) {
    return kDtype<T>;
  }
  std::variant<Kept<float>, Kept<double>> kept_;
  std::optional<Fingerprints> signed_;
};

}  // namespace rnnfast
