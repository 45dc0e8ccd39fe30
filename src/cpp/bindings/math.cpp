// The functions of cpu/math.h, for losses and for tests of their stated accuracy.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "bindings/array.h"
#include "bindings/module.h"
#include "core/error.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

template <class T>
Array<T> apply(const std::string& name, const Array<T>& x) {
  const DenseKernels<T>& k = dense<T>();
  const auto function = name == "exp"        ? k.exp
                        : name == "sigmoid"  ? k.sigmoid
                        : name == "tanh"     ? k.tanh
                        : name == "log"      ? k.log
                        : name == "softplus" ? k.softplus
                        : name == "erf"      ? k.erf
                                             : nullptr;
  RNNFAST_CHECK(function, "name: expected exp, sigmoid, tanh, log, softplus or erf, got ", name);
  Array<T> y = new_array<T>({Index(x.size())});
  function(x.data(), y.mutable_data(), x.size());
  return y;
}

}  // namespace

void bind_math(py::module_& m) {
  m.def("_math", &apply<float>, py::arg("name"), py::arg("x").noconvert(),
        "Return a function of x, by the code of the active instruction set, as a flat array. "
        "`name` is exp, sigmoid, tanh, log, softplus or erf.");
  m.def("_math", &apply<double>, py::arg("name"), py::arg("x").noconvert(),
        "Return a function of x, by the code of the active instruction set, as a flat array. "
        "`name` is exp, sigmoid, tanh, log, softplus or erf.");
}

}  // namespace rnnfast
