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
      "How many devices there are, and why CUDA cannot tell.");
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
      "What the current device has.");
  m.def(
      "load_image",
      [](const py::bytes& image, const std::vector<std::string>& functions) {
        std::vector<Address> addresses;
        for (const void* function : load_image(image, functions))
          addresses.push_back(reinterpret_cast<Address>(function));
        return addresses;
      },
      py::arg("image"), py::arg("functions"),
      "The addresses of functions of what NVRTC compiled, by their mangled names.");
}

}  // namespace rnnfast::cuda
