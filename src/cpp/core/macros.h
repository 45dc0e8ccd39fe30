#pragma once
// The one place that knows which compiler is reading a cell or a kernel.

#if defined(__CUDACC__)
#define RNNFAST_INLINE __host__ __device__ __forceinline__
#else
#define RNNFAST_INLINE inline __attribute__((always_inline))
#endif
