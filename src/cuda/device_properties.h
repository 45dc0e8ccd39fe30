#pragma once
// The properties of a device that a plan needs. Plain data, so that tests can invent devices.

#include <cstddef>
#include <string>

namespace rnnfast::cuda {

struct DeviceProperties {
  std::string name;
  int capability;  // 90 for compute capability 9.0
  int multiprocessors;
  int max_cluster;               // blocks per cluster; 1: no clusters
  std::size_t shared_per_block;  // bytes that a block may ask for
  std::size_t shared_per_multiprocessor;
  int threads_per_multiprocessor;
  int blocks_per_multiprocessor;
  int registers_per_multiprocessor;
};

}  // namespace rnnfast::cuda
