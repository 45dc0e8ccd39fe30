#include <map>
#include <mutex>

#include "cuda/device.cuh"
#include "cuda/runtime.h"

namespace rnnfast::cuda {

#ifdef __CUDACC__

DeviceCount device_count() {
  DeviceCount result{0, ""};
  const cudaError_t status = cudaGetDeviceCount(&result.count);
  if (status == cudaSuccess) return result;
  cudaGetLastError();  // so that no later call reports it
  return {0, std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status)};
}

static DeviceProperties read_properties(int device) {
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, device), "device_properties");
  const int capability = 10 * p.major + p.minor;
  // Only data-centre chips have clusters of 16 blocks.
  const int max_cluster = capability < 90 ? 1 : capability < 120 ? 16 : 8;
  return {.name = p.name,
          .capability = capability,
          .multiprocessors = p.multiProcessorCount,
          .max_cluster = max_cluster,
          .shared_per_block = p.sharedMemPerBlockOptin,
          .shared_per_multiprocessor = p.sharedMemPerMultiprocessor,
          .threads_per_multiprocessor = p.maxThreadsPerMultiProcessor,
          .blocks_per_multiprocessor = p.maxBlocksPerMultiProcessor,
          .registers_per_multiprocessor = p.regsPerMultiprocessor};
}

DeviceProperties device_properties() {
  static std::mutex mutex;
  static std::map<int, DeviceProperties> known;  // CUDA is slow to report it
  int device = 0;
  check(cudaGetDevice(&device), "device_properties");
  const std::lock_guard lock(mutex);
  const auto found = known.find(device);
  return found != known.end() ? found->second
                              : known.emplace(device, read_properties(device)).first->second;
}

void fill_bytes(void* target, int byte, std::size_t bytes, cudaStream_t stream) {
  check(cudaMemsetAsync(target, byte, bytes, stream), "fill_bytes");
}

std::vector<const void*> load_image(const std::string& image,
                                    const std::vector<std::string>& functions) {
  cudaLibrary_t library;
  check(cudaLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "load_image");
  std::vector<const void*> found;
  for (const std::string& name : functions) {
    cudaKernel_t kernel;
    check(cudaLibraryGetKernel(&kernel, library, name.c_str()), "load_image: function");
    found.push_back(kernel);  // launches accept it in place of a function
  }
  return found;
}

#else

std::vector<const void*> load_image(const std::string&, const std::vector<std::string>&) {
  throw Error("image: the emulator cannot load images");
}

DeviceCount device_count() { return {1, ""}; }

DeviceProperties device_properties() {
  const emulator::Device& d = emulator::device;
  return {.name = d.name,
          .capability = d.capability,
          .multiprocessors = d.multiprocessors,
          .max_cluster = d.max_cluster,
          .shared_per_block = d.shared_per_block,
          .shared_per_multiprocessor = d.shared_per_multiprocessor,
          .threads_per_multiprocessor = d.threads_per_multiprocessor,
          .blocks_per_multiprocessor = d.blocks_per_multiprocessor,
          .registers_per_multiprocessor = d.registers_per_multiprocessor};
}

void fill_bytes(void* target, int byte, std::size_t bytes, cudaStream_t) {
  std::memset(target, byte, bytes);
}

#endif

}  // namespace rnnfast::cuda
