// What tests set before a launch: the virtual device and the order of threads.
#include <pybind11/pybind11.h>

#include <string>

#include "core/error.h"
#include "emulator.h"

namespace py = pybind11;

namespace emulator {

void set_device(const py::dict& d) {
  static std::string name;  // the device's own lasts as long as the process
  const auto number = [&](const char* key) { return d[key].cast<int>(); };
  name = d["name"].cast<std::string>();
  device = {.name = name.c_str(),
            .capability = number("capability"),
            .multiprocessors = number("multiprocessors"),
            .max_cluster = number("max_cluster"),
            .shared_per_block = d["shared_per_block"].cast<size_t>(),
            .shared_per_multiprocessor = d["shared_per_multiprocessor"].cast<size_t>(),
            .threads_per_multiprocessor = number("threads_per_multiprocessor"),
            .blocks_per_multiprocessor = number("blocks_per_multiprocessor"),
            .registers_per_multiprocessor = number("registers_per_multiprocessor")};
}

void set_schedule(const std::string& order, uint64_t start) {
  RNNFAST_CHECK(order == "random" || order == "sequential" || order == "reversed",
                "order: expected random, sequential or reversed, got ", order);
  policy = order == "random"       ? Policy::kRandom
           : order == "sequential" ? Policy::kSequential
                                   : Policy::kReversed;
  seed = start;
}

void bind(py::module_& m) {
#ifdef PLANTED
  m.def("set_fault", [](int number) { planted::fault = number; }, "Plant a fault; see planted.h.");
#endif
  m.def("set_device", &set_device, "Emulate a device with these properties.");
  m.def("set_schedule", &set_schedule, py::arg("order"), py::arg("seed") = 1,
        "Set the order in which threads run: sequential, reversed or random.");
  m.def(
      "refusal",
      [](unsigned x, unsigned y, unsigned threads, size_t shared_bytes, bool cooperative,
         unsigned cluster) {
        return refusal({dim3(x, y), dim3(threads), shared_bytes, cooperative, cluster});
      },
      py::kw_only(), py::arg("x"), py::arg("y"), py::arg("threads"), py::arg("shared_bytes"),
      py::arg("cooperative"), py::arg("cluster"),
      "Return why the device would refuse a launch; empty if it would accept it.");
}

}  // namespace emulator
