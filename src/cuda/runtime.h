#pragma once
// The functions of CUDA's runtime that host code needs, for files not compiled by a CUDA compiler.

#include <string>
#include <vector>

#include "cuda/device_properties.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

struct DeviceCount {
  int count;
  std::string error;  // why CUDA cannot count them, if it cannot
};
DeviceCount device_count();  // needs no driver

DeviceProperties device_properties();  // of the current device; cached per device

void fill_bytes(void* target, int byte, std::size_t bytes, cudaStream_t stream);  // does not wait

// The addresses of a compiled image's functions, by their mangled names, for devices that can run
// it. The image stays loaded for the process's lifetime.
std::vector<const void*> load_image(const std::string& image,
                                    const std::vector<std::string>& functions);

}  // namespace rnnfast::cuda
