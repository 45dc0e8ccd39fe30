#pragma once
// What host code asks of CUDA's runtime, for files that no CUDA compiler reads.

#include <string>

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

}  // namespace rnnfast::cuda
