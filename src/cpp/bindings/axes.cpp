// Converts arrays with the batch axis first to the order that the kernels read.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cstring>

#include "bindings/array.h"
#include "bindings/held.h"
#include "bindings/module.h"
#include "core/threads.h"
#include "rnn/network.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

constexpr std::size_t kThreadBytes = 256 << 10;  // below this a second thread does not pay

// Copies to cached memory, whose pages are mapped: NumPy's own copy spends more time on page faults
// than on copying. Keeps the GIL, so that nobody can free the array's memory.
template <class T>
py::object swapped(py::handle object) {
  const int rank = py::detail::array_proxy(object.ptr())->nd;
  if (rank != 2 && rank != 3) return py::none();
  check_owned("x, dy", object);
  const Index rows = array_size(object, 0), columns = array_size(object, 1);
  const Index width = rank == 3 ? array_size(object, 2) : 1;
  Array<T> result =
      rank == 3 ? new_array<T>({columns, rows, width}) : new_array<T>({columns, rows});
  const T* from = array_data<const T>(object);
  T* to = result.mutable_data();
  const std::size_t bytes = std::size_t(width) * sizeof(T);
  const std::size_t useful = 1 + bytes * std::size_t(rows * columns) / kThreadBytes;
  parallel(int(std::min<std::size_t>(useful, std::size_t(num_threads()))),
           [&](const Team& team, int thread) {
             const Index end = columns * (thread + 1) / team.size;
             for (Index c = columns * thread / team.size; c < end; ++c)
               for (Index r = 0; r < rows; ++r)
                 std::memcpy(to + (c * rows + r) * width, from + (r * columns + c) * width, bytes);
           });
  return result;
}

py::object swap_axes(py::handle object) {
  if (is_array<float>(object)) return swapped<float>(object);
  if (is_array<double>(object)) return swapped<double>(object);
  if (is_array<Index>(object)) return swapped<Index>(object);
  return py::none();
}

}  // namespace

void bind_axes(py::module_& m) {
  m.def("swap_axes", &swap_axes, py::arg("array"),
        "Return a copy with the first two axes swapped; None unless `array` is of float32, float64 "
        "or int64, in C order and of rank 2 or 3.");
}

}  // namespace rnnfast
