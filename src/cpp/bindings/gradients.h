#pragma once
// New arrays for gradients.

#include "bindings/array.h"
#include "bindings/rnn_arguments.h"

namespace rnnfast {

// Returns new arrays for the gradients of a layer's weights; None for a missing weight.
template <class T>
py::tuple new_gradients(const WeightShapes& shapes, const CellWeights<const T>& w,
                        CellWeights<T>& data) {
  py::tuple arrays(kWeights);
  const auto add = [&](std::size_t k, const T* weight, const WeightShape& shape, T*& to) {
    to = nullptr;
    if (!weight) {
      arrays[k] = py::none();
      return;
    }
    Array<T> array = new_array<T>(shape.span());
    to = array.mutable_data();
    arrays[k] = std::move(array);
  };
  add(0, w.weight_ih, shapes.weight_ih, data.weight_ih);
  add(1, w.weight_hh, shapes.weight_hh, data.weight_hh);
  add(2, w.bias_ih, shapes.bias_ih, data.bias_ih);
  add(3, w.bias_hh, shapes.bias_hh, data.bias_hh);
  add(4, w.weight_channel, shapes.weight_channel, data.weight_channel);
  add(5, w.weight_hr, shapes.weight_hr, data.weight_hr);
  return arrays;
}

}  // namespace rnnfast
