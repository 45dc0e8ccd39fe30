#pragma once
// Runs the PTX of a kernel, translated, in place of its source. The kernel's address leads to its
// name, and the name to the translation.

#include <dlfcn.h>

#include <cstddef>
#include <type_traits>
#include <vector>

#include "emulator_launch.h"

namespace emulator::ptx {

// A translated kernel. Those of a library are in a list from the time that it is loaded.
struct Kernel {
  Kernel(const char* name_, void (*run_)(const unsigned char*), size_t parameter_bytes_,
         size_t static_bytes_, bool dynamic_, unsigned max_threads_)
      : name(name_),
        run(run_),
        parameter_bytes(parameter_bytes_),
        static_bytes(static_bytes_),
        dynamic(dynamic_),
        max_threads(max_threads_),
        next(first()) {
    first() = this;
  }
  static const Kernel*& first() {
    static const Kernel* kernels = nullptr;
    return kernels;
  }

  const char* name;  // mangled
  void (*run)(const unsigned char* parameters);
  size_t parameter_bytes;
  size_t static_bytes;  // of shared memory; dynamic memory follows
  bool dynamic;         // whether it uses any
  unsigned max_threads;
  const Kernel* next;
};

inline const Kernel* find_kernel(const char* name) {
  const Kernel* kernel = Kernel::first();
  while (kernel && std::strcmp(kernel->name, name)) kernel = kernel->next;
  return kernel;
}

// The kernel whose source is at that address, or null, and last_error tells why.
inline const Kernel* find_kernel_at(const void* source) {
  Dl_info symbol;
  if (!dladdr(source, &symbol) || !symbol.dli_sname || symbol.dli_saddr != source) {
    last_error = "launch: the kernel has no symbol; it must not be static or hidden";
    return nullptr;
  }
  const Kernel* kernel = find_kernel(symbol.dli_sname);
  if (!kernel) last_error = std::string("launch: no PTX of ") + symbol.dli_sname;
  return kernel;
}

inline bool refuse(const std::string& reason) {
  last_error = "launch: " + reason;
  return false;
}

inline bool launch_kernel(const Kernel& kernel, Shape shape,
                          const std::vector<unsigned char>& parameters) {
  if (parameters.size() != kernel.parameter_bytes)
    return refuse(std::to_string(parameters.size()) + " bytes of parameters, but the PTX has " +
                  std::to_string(kernel.parameter_bytes));
  if (volume(shape.block) > kernel.max_threads)
    return refuse(std::to_string(volume(shape.block)) +
                  " threads a block, but __launch_bounds__ is " +
                  std::to_string(kernel.max_threads));
  shape.shared_bytes += kernel.static_bytes;
  // Vectors of bytes are aligned for any type.
  return emulator::launch(shape, [&] { kernel.run(parameters.data()); });
}

// Each at the next multiple of its alignment, as PTX lays them out.
template <class... Parameters>
inline std::vector<unsigned char> pack_parameters(const Parameters&... values) {
  std::vector<unsigned char> bytes;
  const auto append = [&](const auto& value) {
    static_assert(std::is_trivially_copyable_v<std::remove_cvref_t<decltype(value)>>);
    const size_t align = alignof(std::remove_cvref_t<decltype(value)>);
    const size_t place = (bytes.size() + align - 1) / align * align;
    bytes.resize(place + sizeof value);
    std::memcpy(bytes.data() + place, &value, sizeof value);
  };
  (append(values), ...);
  return bytes;
}

template <class... Parameters>
inline bool launch(const Shape& shape, void (*kernel)(Parameters...),
                   std::type_identity_t<Parameters>... values) {
  const Kernel* found = find_kernel_at(reinterpret_cast<const void*>(kernel));
  return found && launch_kernel(*found, shape, pack_parameters<Parameters...>(values...));
}

}  // namespace emulator::ptx
