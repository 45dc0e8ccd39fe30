#pragma once
// NumPy arrays as the bindings take and make them.

#include <pybind11/numpy.h>

#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
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

inline void check_size(const char* name, long got, const char* meaning, long expected) {
  RNNFAST_CHECK(got == expected, name, ": expected ", meaning, " = ", expected, ", got ", got);
}

// Throws IndexError, "EXPECTED = [0, end), got ...", unless all indices are in [0, end).
inline void check_indices(const char* expected, const Array<long>& indices, long end) {
  const long* p = indices.data();
  for (long n = 0; n < indices.size(); ++n)
    if (p[n] < 0 || p[n] >= end)
      throw pybind11::index_error(std::string(expected) + " = [0, " + std::to_string(end) +
                                  "), got " + std::to_string(p[n]));
}

}  // namespace rnnfast
