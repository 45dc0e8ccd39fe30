#pragma once
// CUDA's keywords, vector types and arithmetic for g++: all that needs no thread. What nvcc has and
// no kernel uses is left out.

#include <math.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#ifdef RNNFAST_EMULATED_PTX
#define __global__ __attribute__((visibility("default")))  // its name leads to its PTX
#else
#define __global__
#endif
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define EMULATOR_VECTORS(scalar, name)                                 \
  struct alignas(2 * sizeof(scalar)) name##2 { scalar x, y; };         \
  struct alignas(4 * sizeof(scalar)) name##4 { scalar x, y, z, w; };   \
  inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; } \
  inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
#undef EMULATOR_VECTORS

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline uint3 threadIdx, blockIdx;  // set at every change of the running thread
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

typedef struct CUstream_st* cudaStream_t;  // as in CUDA

using std::max;
using std::min;

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t{a} * b >> 32; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
template <class T>
inline T __ldg(const T* address) {
  return *address;
}

struct __nv_bfloat16 {
  uint16_t bits;
};

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline float __bfloat162float(__nv_bfloat16 value) {
  return std::bit_cast<float>(uint32_t{value.bits} << 16);
}

// To nearest, ties to even. As on the device a NaN becomes 0x7fff.
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

namespace emulator {

// The fast functions are as wrong as the hardware's are allowed to be, so that tests see it.
inline float keep_bits(float value, int bits) {
  uint32_t word = std::bit_cast<uint32_t>(value);
  const uint32_t half = 1u << (22 - bits);
  if ((word & 0x7f800000u) != 0x7f800000u) word = (word + half) & ~(2 * half - 1);
  return std::bit_cast<float>(word);
}

}  // namespace emulator

inline float __expf(float x) { return emulator::keep_bits(expf(x), 20); }
inline float __logf(float x) { return emulator::keep_bits(logf(x), 20); }
inline float __fdividef(float a, float b) { return emulator::keep_bits(a / b, 21); }
