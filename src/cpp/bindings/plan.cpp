// Finds which CUDA kernel would run a layer on any device. This is host code, so every build has
// it.
#include "cuda/plan.h"

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/module.h"
#include "bindings/rnn_options.h"
#include "core/error.h"
#include "cpu/traced_cells.h"

namespace rnnfast {
namespace {

using namespace cuda;

DeviceProperties read_device(const py::dict& d) {
  const auto number = [&](const char* name) { return d[name].cast<int>(); };
  return {.name = d["name"].cast<std::string>(),
          .capability = number("capability"),
          .multiprocessors = number("multiprocessors"),
          .max_cluster = number("max_cluster"),
          .shared_per_block = d["shared_per_block"].cast<std::size_t>(),
          .shared_per_multiprocessor = d["shared_per_multiprocessor"].cast<std::size_t>(),
          .threads_per_multiprocessor = number("threads_per_multiprocessor"),
          .blocks_per_multiprocessor = number("blocks_per_multiprocessor"),
          .registers_per_multiprocessor = number("registers_per_multiprocessor")};
}

py::dict cuda_plan(const py::str& cell, int batch, int hidden, const std::string& products,
                   bool backward, const py::dict& device,
                   const std::optional<std::vector<std::string>>& kernels) {
  const auto id = find_cell(cell);
  RNNFAST_CHECK(id, "cell: expected the name of a known cell, got ", std::string(cell));
  const LayerShape shape{known_cell(*id), batch, hidden, products_named(products),
                         backward ? Pass::backward : Pass::forward};
  std::vector<Kernel> only;
  for (const std::string& name : kernels.value_or(std::vector<std::string>{}))
    only.push_back(kernel_named(name));
  const Plan p =
      choose(shape, read_device(device), kernels ? std::span<const Kernel>(only) : kKernels);
  using namespace py::literals;
  const Estimate& e = p.estimate;
  return py::dict(
      "kernel"_a = kernel_name(p.kernel), "units"_a = p.units, "slices"_a = p.slices,
      "rows"_a = p.rows, "sub_batches"_a = p.sub_batches, "threads"_a = p.threads,
      "cluster"_a = p.cluster, "shared_bytes"_a = p.shared_bytes, "cooperative"_a = p.cooperative,
      "resident"_a = p.resident, "step_seconds"_a = e.step(), "products_seconds"_a = e.products,
      "exchange_seconds"_a = e.exchange, "synchronisation_seconds"_a = e.synchronisation,
      "pointwise_seconds"_a = e.pointwise, "memory_seconds"_a = e.memory, "reason"_a = p.reason);
}

}  // namespace

void bind_plan(py::module_& m) {
  m.def("cuda_plan", &cuda_plan, py::kw_only(), py::arg("cell"), py::arg("batch"),
        py::arg("hidden"), py::arg("products"), py::arg("backward"), py::arg("device"),
        py::arg("kernels"),
        "Return the kernel that the CUDA engine chooses for one layer in one direction, its shape, "
        "and the estimated time of a step.");
}

}  // namespace rnnfast
