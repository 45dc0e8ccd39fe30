// Arrays with the batch axis first, as some callers have them, in the order that the kernels read.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cstring>

#include "bindings/array.h"
#include "bindings/module.h"
#include "core/threads.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

constexpr std::size_t kThreadBytes = 256 << 10;  // below which a second thread does not pay

// Into memory of the cache, whose pages are there: a copy of NumPy's spends more time on page
// faults than on copying. The GIL is kept, so that nobody can take the array's memory away.
template <class T>
py::object swapped(const py::detail::PyArray_Proxy* from) {
  const py::ssize_t *size = from->dimensions, *stride = from->strides;
  const py::ssize_t width = from->nd == 3 ? size[2] : 1;
  if (from->nd == 3 && width > 1 && stride[2] != py::ssize_t(sizeof(T))) return py::none();
  Array<T> to =
      from->nd == 3 ? new_array<T>({size[1], size[0], size[2]}) : new_array<T>({size[1], size[0]});
  T* data = to.mutable_data();
  const std::size_t row = std::size_t(width) * sizeof(T);
  const std::size_t bytes = row * std::size_t(size[0] * size[1]);
  parallel(int(std::min<std::size_t>(1 + bytes / kThreadBytes, std::size_t(num_threads()))),
           [&](const Team& team, int thread) {
             for (py::ssize_t t = size[1] * thread / team.size;
                  t < size[1] * (thread + 1) / team.size; ++t)
               for (py::ssize_t b = 0; b < size[0]; ++b)
                 std::memcpy(data + (t * size[0] + b) * width,
                             from->data + b * stride[0] + t * stride[1], row);
           });
  return to;
}

py::object swap_axes(py::handle object) {
  if (!py::isinstance<py::array>(object)) return py::none();
  const auto* array = py::detail::array_proxy(object.ptr());
  if (array->nd != 2 && array->nd != 3) return py::none();
  if (py::isinstance<py::array_t<float>>(object)) return swapped<float>(array);
  if (py::isinstance<py::array_t<double>>(object)) return swapped<double>(array);
  if (py::isinstance<py::array_t<long>>(object)) return swapped<long>(array);
  return py::none();
}

}  // namespace

void bind_axes(py::module_& m) {
  m.def(
      "swap_axes", &swap_axes, py::arg("array"),
      "A C-contiguous copy with the first two axes exchanged; None for arrays of other types than "
      "float32, float64 and int64, of other ranks than 2 and 3, or with gaps in the last axis.");
}

}  // namespace rnnfast
