// Views tensors of other libraries as NumPy arrays through DLPack. NumPy's own `from_dlpack` takes
// four microseconds per tensor, a good part of a short call, and PyTorch's `numpy()` keeps the
// tensor from ever being resized.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <string>

#include "bindings/module.h"
#include "core/error.h"

namespace rnnfast {
namespace {

namespace py = pybind11;

// DLPack's structures up to version 0.8, whose capsules are called "dltensor".
// https://dmlc.github.io/dlpack/latest/c_api.html
struct DLTensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t axes;
  std::uint8_t type_code, bits;
  std::uint16_t lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null for C order
  std::uint64_t byte_offset;
};
constexpr const char* kCapsuleName = "dltensor";
constexpr std::int32_t kCpu = 1;
constexpr std::size_t kMaxAxes = 32;

// NumPy's letters for DLPack's type codes 0 to 6; a space if NumPy has no such type.
constexpr char kKinds[] = {'i', 'u', 'f', ' ', ' ', 'c', 'b'};

py::dtype dtype_of(const DLTensor& tensor) {
  const bool known = tensor.type_code < sizeof(kKinds) && kKinds[tensor.type_code] != ' ' &&
                     tensor.lanes == 1 && tensor.bits % 8 == 0;
  if (!known) throw py::type_error("capsule: expected a tensor whose type NumPy has, too");
  // NumPy parses a name in 0.3 us.
  if (kKinds[tensor.type_code] == 'f' && tensor.bits == 32) return py::dtype::of<float>();
  if (kKinds[tensor.type_code] == 'f' && tensor.bits == 64) return py::dtype::of<double>();
  return py::dtype(kKinds[tensor.type_code] + std::to_string(tensor.bits / 8));
}

// The array keeps the capsule alive, and with it the tensor.
py::object array_of(const py::object& capsule) {
  RNNFAST_CHECK(PyCapsule_IsValid(capsule.ptr(), kCapsuleName), "capsule: expected one named ",
                kCapsuleName);
  const auto& tensor = *static_cast<DLTensor*>(PyCapsule_GetPointer(capsule.ptr(), kCapsuleName));
  RNNFAST_CHECK(tensor.device_type == kCpu,
                "capsule: expected a tensor on the CPU, got one on DLPack device type ",
                tensor.device_type);
  RNNFAST_CHECK(std::size_t(tensor.axes) <= kMaxAxes, "capsule: expected a tensor of at most ",
                kMaxAxes, " axes, got ", tensor.axes);
  std::int64_t count = 1;
  for (std::int32_t i = 0; i < tensor.axes; ++i) count *= tensor.shape[i];
  RNNFAST_CHECK(tensor.data || count == 0,
                "capsule: expected a tensor with memory, got one whose memory was freed");
  const py::dtype dtype = dtype_of(tensor);
  std::array<Py_intptr_t, kMaxAxes> strides;
  for (std::int32_t i = 0; tensor.strides && i < tensor.axes; ++i)
    strides[std::size_t(i)] = tensor.strides[i] * dtype.itemsize();
  const auto& numpy = py::detail::npy_api::get();
  // Avoids pybind11's constructor, which allocates lists of sizes and strides.
  auto array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, py::dtype(dtype).release().ptr(), tensor.axes, tensor.shape,
      tensor.strides ? strides.data() : nullptr,
      static_cast<char*>(tensor.data) + tensor.byte_offset,
      py::detail::npy_api::NPY_ARRAY_WRITEABLE_, nullptr));
  if (!array) throw py::error_already_set();
  numpy.PyArray_SetBaseObject_(array.ptr(), capsule.inc_ref().ptr());
  return array;
}

}  // namespace

void bind_dlpack(py::module_& m) {
  m.def("array_of_dlpack", &array_of, py::arg("capsule"),
        "Return a NumPy array that shares the memory of a tensor on the CPU, given as a DLPack "
        "capsule named \"dltensor\". The array keeps the capsule alive.");
}

}  // namespace rnnfast
