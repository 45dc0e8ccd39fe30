#pragma once
// Dropout of consecutive elements.

#include "core/dropout.h"
#include "cpu/gemm.h"

namespace RNNFAST_ISA_NAMESPACE {

// Writes `from`, or ones if that is null, times the mask of elements [first, first + n). Random
// words are generated for kBlocks blocks at a time, with vectors of counters.
template <class T, int kBlocks = 16>
void drop(const T* from, Index first, Index n, const Dropout<T>& options, T* to) {
  constexpr int kBlock = Dropout<T>::kBlock;
  const Dropout<T> d = options;
  for (Index i = 0; i < n;) {
    unsigned words[kBlocks * kBlock];
    const Index block = (first + i) / kBlock, skip = (first + i) % kBlock;
    for (int k = 0; k < kBlocks; ++k) {
      unsigned four[kBlock];
      d.words(block + k, four);
      for (int j = 0; j < kBlock; ++j) words[k * kBlock + j] = four[j];
    }
    const Index count = min_index(kBlocks * kBlock - skip, n - i);
    for (Index j = 0; j < count; ++j)
      to[i + j] = d.apply(from ? from[i + j] : T(1), words[skip + j]);
    i += count;
  }
}

}  // namespace RNNFAST_ISA_NAMESPACE
