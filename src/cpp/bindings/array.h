#pragma once
// NumPy arrays as the bindings accept and return them.

#include <pybind11/numpy.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/error.h"
#include "core/index.h"
#include "core/memory.h"

namespace rnnfast {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

// Returns an array over a block of the memory cache, which gets the block back when the array dies.
// Avoids pybind11's constructor, which allocates lists of sizes and strides and takes a good part
// of a short call's time.
template <class T>
Array<T> new_array(std::span<const Index> shape) {
  namespace py = pybind11;
  std::size_t count = 1;
  for (Index n : shape) count *= static_cast<std::size_t>(n);
  auto buffer = std::make_unique<Buffer>(Buffer::allocate(count * sizeof(T)));
  T* data = buffer->as<T>();
  py::capsule owner(buffer.get(), [](void* b) { delete static_cast<Buffer*>(b); });
  buffer.release();
  const auto& numpy = py::detail::npy_api::get();
  constexpr int kFlags = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ |
                         py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                         py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  auto array = py::reinterpret_steal<Array<T>>(
      numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, py::dtype::of<T>().release().ptr(),
                                  int(shape.size()), shape.data(), nullptr, data, kFlags, nullptr));
  if (!array) throw py::error_already_set();
  numpy.PyArray_SetBaseObject_(array.ptr(), owner.release().ptr());
  return array;
}
template <class T>
Array<T> new_array(std::initializer_list<Index> shape) {
  return new_array<T>(std::span<const Index>(shape.begin(), shape.size()));
}

// The data of an array that is written to, or null without one.
template <class T>
T* data_of(std::optional<Array<T>>& array) {
  return array ? array->mutable_data() : nullptr;
}
template <class T>
pybind11::handle handle_of(const std::optional<Array<T>>& array) {
  return array ? pybind11::handle(*array) : pybind11::handle();
}

// Whether an object is an array of exactly this type, aligned and in C order. Masked arrays do not
// qualify: Python refuses them, because the kernels would ignore the mask.
template <class T>
bool is_array(pybind11::handle object) {
  if (!Array<T>::check_(object)) return false;
  const PyTypeObject* plain = pybind11::detail::npy_api::get().PyArray_Type_;
  if (Py_TYPE(object.ptr()) != plain && pybind11::hasattr(object, "mask")) return false;
  return (pybind11::detail::array_proxy(object.ptr())->flags &
          pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_);
}

// The same, with this shape.
template <class T>
bool is_array(pybind11::handle object, std::span<const Index> shape) {
  if (!is_array<T>(object)) return false;
  const auto* array = pybind11::detail::array_proxy(object.ptr());
  return array->nd == int(shape.size()) &&
         std::equal(shape.begin(), shape.end(), array->dimensions);
}

// The data of an array that passed `is_array`.
template <class T>
T* array_data(pybind11::handle object) {
  return reinterpret_cast<T*>(pybind11::detail::array_proxy(object.ptr())->data);
}
inline Index array_size(pybind11::handle object, int axis) {
  return pybind11::detail::array_proxy(object.ptr())->dimensions[axis];
}
inline bool is_writable(pybind11::handle object) {
  return pybind11::detail::array_proxy(object.ptr())->flags &
         pybind11::detail::npy_api::NPY_ARRAY_WRITEABLE_;
}

// The first of n indices outside [0, end), or null.
inline const Index* find_outside(const Index* indices, Index n, Index end) {
  const auto outside = [end](Index i) { return i < 0 || i >= end; };
  const Index* found = std::find_if(indices, indices + n, outside);
  return found == indices + n ? nullptr : found;
}

inline void check_size(const char* name, Index got, const char* meaning, Index expected) {
  RNNFAST_CHECK(got == expected, name, ": expected ", meaning, " = ", expected, ", got ", got);
}

// Copies n integers, so that the values checked are those used even if another thread writes to the
// array.
inline Buffer copied(const Index* integers, Index n) {
  Buffer copy = Buffer::allocate(std::size_t(n) * sizeof(Index));
  std::copy_n(integers, n, copy.as<Index>());
  return copy;
}

// Copies n indices. Throws IndexError, "EXPECTED = [0, end), got ...", unless all are in [0, end).
inline Buffer checked_indices(const char* expected, const Index* indices, Index n, Index end) {
  Buffer copy = copied(indices, n);
  if (const Index* found = find_outside(copy.as<Index>(), n, end))
    throw pybind11::index_error(std::string(expected) + " = [0, " + std::to_string(end) +
                                "), got " + std::to_string(*found));
  return copy;
}

}  // namespace rnnfast
