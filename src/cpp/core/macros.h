#pragma once
// The one place that knows which compiler is reading a cell or a kernel.

#if defined(__CUDACC__)
#define RNNFAST_INLINE __host__ __device__ __forceinline__
#else
#define RNNFAST_INLINE inline __attribute__((always_inline))
#endif

namespace rnnfast {

RNNFAST_INLINE float square_root(float x) {
#if defined(__CUDA_ARCH__)
  return sqrtf(x);
#else
  return __builtin_sqrtf(x);
#endif
}
RNNFAST_INLINE double square_root(double x) {
#if defined(__CUDA_ARCH__)
  return sqrt(x);
#else
  return __builtin_sqrt(x);
#endif
}

}  // namespace rnnfast
