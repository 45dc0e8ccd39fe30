#pragma once
// The type of sizes and indices, with 64 bits on every system; `long` has 32 on Windows. Kernel
// files include this, so it names std::int64_t without a standard header.

namespace rnnfast {

#if defined(__CUDACC_RTC__)  // NVRTC's int64_t, see cuda/runtime_compiled.cuh
using Index = long long;
#else
using Index = __INT64_TYPE__;
#endif

}  // namespace rnnfast
