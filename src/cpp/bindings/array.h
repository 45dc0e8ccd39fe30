#pragma once
// NumPy arrays as the bindings take and make them.

#include <pybind11/numpy.h>

#include <memory>
#include <vector>

#include "core/memory.h"

namespace rnnfast {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

// An array over a block of the memory cache, to which it returns when the array is gone.
template <class T>
Array<T> new_array(const std::vector<long>& shape) {
  std::size_t count = 1;
  for (long n : shape) count *= static_cast<std::size_t>(n);
  auto buffer = std::make_unique<Buffer>(Buffer::allocate(count * sizeof(T)));
  T* data = buffer->as<T>();
  const pybind11::capsule owner(buffer.get(), [](void* b) { delete static_cast<Buffer*>(b); });
  buffer.release();
  return Array<T>(shape, data, owner);
}

}  // namespace rnnfast
