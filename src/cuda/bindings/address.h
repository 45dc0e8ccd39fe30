#pragma once
// Device memory and streams, which Python passes as integers.

#include <cstdint>

#include "cuda/stream.h"

namespace rnnfast::cuda {

using Address = std::uintptr_t;  // 0 is null

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}
inline cudaStream_t stream_at(Address address) { return pointer<CUstream_st>(address); }

}  // namespace rnnfast::cuda
