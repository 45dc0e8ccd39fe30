#pragma once
// What a training forward pass leaves to Python: the reserve, and the arrays that backward reads
// again.

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/array.h"
#include "bindings/held.h"
#include "rnn/masks.h"
#include "rnn/network.h"

namespace rnnfast {

namespace py = pybind11;

template <class T>
constexpr const char* kDtype = sizeof(T) == 4 ? "float32" : "float64";

// A training forward pass: the reserve, and the arrays that backward reads again.
template <class T>
struct Kept {
  Reserve<T> reserve;
  NetworkInput<T> input;
  HeldArrays held;  // of the input, and y; the weights come first
  Buffer indices;   // of the input, where x is integers
};

// What the arrays held that backward reads again: the caller's, and the y that the caller got.
struct Fingerprints {
  std::uint64_t x, state, weights, y;
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
  // Five of each layer and direction.
  py::list weights() const {
    const auto& held = std::visit([](const auto& k) -> const auto& { return k.held; }, kept_);
    py::list result;
    for (std::size_t w = 0; Index(result.size()) < size().cells(); w += 5)
      result.append(py::make_tuple(held[w], held[w + 1], held[w + 2], held[w + 3], held[w + 4]));
    return result;
  }
  // Takes note of what the arrays hold.
  void sign();
  // Throws std::runtime_error if they hold something else than when the reserve was signed.
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
