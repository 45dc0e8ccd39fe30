#pragma once
// What host code asks of CUDA's runtime, for files that no CUDA compiler reads.

#include <string>
#include <vector>

#include "cuda/device_properties.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

struct DeviceCount {
  int count;
  std::string error;  // why CUDA cannot tell, if it cannot
};
DeviceCount device_count();  // needs no driver

DeviceProperties device_properties();  // of the current device; CUDA is asked once for each

void fill_bytes(void* target, int byte, std::size_t bytes, cudaStream_t stream);  // does not wait

// The addresses of functions of a compiled image, by their mangled names, for devices that can run
// it. It stays loaded as long as the process lives.
std::vector<const void*> load_image(const std::string& image,
                                    const std::vector<std::string>& functions);

}  // namespace rnnfast::cuda
