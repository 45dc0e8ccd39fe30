#pragma once
// Packed weights as a Python object.

#include <cstddef>
#include <utility>
#include <variant>

#include "bindings/rnn_reserve.h"
#include "rnn/network.h"

namespace rnnfast {

// Packed weights of one type, and the size of their network.
class PyPacked {
 public:
  template <class T>
  PyPacked(const NetworkSize& size, PackedWeights<T> weights)
      : size_(size), weights_(std::move(weights)) {}

  const NetworkSize& size() const { return size_; }
  std::size_t nbytes() const {
    return std::visit([](const auto& w) { return w.memory.size(); }, weights_);
  }
  const char* dtype() const { return of<float>() ? kDtype<float> : kDtype<double>; }
  // Null if they are of another type.
  template <class T>
  const PackedWeights<T>* of() const {
    return std::get_if<PackedWeights<T>>(&weights_);
  }

 private:
  NetworkSize size_;
  std::variant<PackedWeights<float>, PackedWeights<double>> weights_;
};

}  // namespace rnnfast
