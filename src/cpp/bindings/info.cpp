// Information about the build and the CPU, and settings of the whole process.

#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include "bindings/module.h"
#include "core/blocking.h"
#include "core/cpus.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

using StrList = py::typing::List<py::str>;
using Facts = py::typing::Dict<py::str, py::object>;

Facts cpu_info_dict() {
  StrList compiled, supported;
  for (const Isa& isa : compiled_isas()) {
    compiled.append(isa.name);
    if (isa_supported(isa)) supported.append(isa.name);
  }
  Facts info;
  info["isa"] = active_isa().name;
  info["bfloat16"] = active_bf16();
  info["int8"] = active_int8();
  info["vector_bits"] = active_isa().vector_bits;
  info["isas_compiled"] = compiled;
  info["isas_supported"] = supported;
  info["cpu"] = cpu_model();
  info["cpus"] = usable_cpus();
  info["l2_bytes"] = blocking().cache_bytes;
  info["threads"] = num_threads();
  return info;
}

py::typing::Dict<py::str, py::int_> cache_info_dict() {
  const CacheInfo cache = cache_info();
  py::typing::Dict<py::str, py::int_> info;
  info["limit_bytes"] = cache.limit_bytes;
  info["cached_bytes"] = cache.cached_bytes;
  info["cached_blocks"] = cache.cached_blocks;
  info["used_bytes"] = cache.used_bytes;
  info["hits"] = cache.hits;
  info["misses"] = cache.misses;
  return info;
}

}  // namespace

void bind_info(py::module_& m) {
  // A wrong setting in the environment fails the import, not a call much later.
  active_isa();
  blocking();
  active_bf16();
  active_int8();
  num_threads();
  cache_info();

  m.def("cpu_info", &cpu_info_dict,
        "Return the instruction set in use, those compiled and those supported (best first); how "
        "products of bfloat16 (\"convert\" or \"dot\") and of 8-bit integers (\"multiply\" or "
        "\"dot\") are computed; the model of the CPU; the size of a core's L2 cache that the "
        "kernels reckon with; the number of CPUs that this process "
        "may use; and the number of threads of a call.");
  m.def("get_num_threads", &num_threads, "Return the largest number of threads that a call uses.");
  m.def("set_num_threads", &set_num_threads, py::arg("n"),
        "Set the largest number of threads that a call uses, 1 to 1024. A call never uses more "
        "threads than there are CPUs that the process may use (by its affinity and the quota of "
        "its control groups), or 8 if there are fewer CPUs.");
  m.def("_cpu_quota", &cpu_quota, py::arg("root"),
        "Return the number of CPUs that the control groups below a folder grant; 0 for no limit.");
  m.def("empty_cache", &empty_cache,
        "Return the free blocks of the memory cache, at most RNNFAST_CACHE_LIMIT bytes, to the "
        "system. Arrays and reserves in use are not affected.");
  m.def("cache_info", &cache_info_dict,
        "Return the state of the memory cache: `limit_bytes`, the most that it keeps; "
        "`cached_bytes` and `cached_blocks`, which are free for the next call; `used_bytes` of "
        "arrays and reserves in use; `hits` and `misses`, the numbers of allocations from the "
        "cache and from the system.");
}

}  // namespace rnnfast
