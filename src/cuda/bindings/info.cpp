// Reports the devices. This works without a driver.
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "cuda/bindings/address.h"
#include "cuda/bindings/module.h"
#include "cuda/runtime.h"

namespace py = pybind11;

namespace rnnfast::cuda {

void bind_info(py::module_& m) {
  using namespace py::literals;
  m.def(
      "device_count",
      [] {
        const DeviceCount found = device_count();
        return py::tuple(py::make_tuple(found.count, found.error));
      },
      "Return the number of devices, and the error of CUDA if it cannot count them.");
  m.def(
      "device_properties",
      [] {
        const DeviceProperties p = device_properties();
        return py::dict("name"_a = p.name, "capability"_a = p.capability,
                        "multiprocessors"_a = p.multiprocessors, "max_cluster"_a = p.max_cluster,
                        "shared_per_block"_a = p.shared_per_block,
                        "shared_per_multiprocessor"_a = p.shared_per_multiprocessor,
                        "threads_per_multiprocessor"_a = p.threads_per_multiprocessor,
                        "blocks_per_multiprocessor"_a = p.blocks_per_multiprocessor,
                        "registers_per_multiprocessor"_a = p.registers_per_multiprocessor);
      },
      "Return the properties of the current device.");
  m.def(
      "load_image",
      [](const py::bytes& image, const std::vector<std::string>& functions) {
        std::vector<Address> addresses;
        for (const void* function : load_image(image, functions))
          addresses.push_back(reinterpret_cast<Address>(function));
        return addresses;
      },
      py::arg("image"), py::arg("functions"),
      "Load an image that NVRTC compiled, and return the addresses of functions by their mangled "
      "names.");
}

}  // namespace rnnfast::cuda
