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

DeviceProperties device_properties();  // of the current device

// Both wait for nothing; the second copies from device to device.
void fill_bytes(void* target, int byte, std::size_t bytes, cudaStream_t stream);
void copy_bytes(void* target, const void* source, std::size_t bytes, cudaStream_t stream);

}  // namespace rnnfast::cuda
