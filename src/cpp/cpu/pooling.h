#pragma once
// Reduces the steps of each sequence to one row: their mean or maximum. Steps are taken in order,
// so a row does not depend on the batch.

#include "core/macros.h"
#include "cpu/vec.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class T>
void mean_pool(const T* x, const Index* lengths, Index batch, Index width, T* y, Index begin,
               Index end) {
  for (Index b = begin; b < end; ++b) {
    T* __restrict sum = y + b * width;
    for (Index i = 0; i < width; ++i) sum[i] = 0;
    for (Index t = 0; t < lengths[b]; ++t) {
      const T* __restrict from = x + (t * batch + b) * width;
      for (Index i = 0; i < width; ++i) sum[i] += from[i];
    }
    for (Index i = 0; lengths[b] && i < width; ++i) sum[i] /= T(lengths[b]);
  }
}

// NaN counts as the largest.
template <class T>
void max_pool(const T* x, const Index* lengths, Index batch, Index width, T* y, Index* steps,
              Index begin, Index end) {
  for (Index b = begin; b < end; ++b) {
    T* __restrict most = y + b * width;
    Index* __restrict step = steps + b * width;
    const T* first = x + b * width;
    for (Index i = 0; i < width; ++i) {
      most[i] = lengths[b] ? first[i] : T(0);
      step[i] = lengths[b] ? 0 : -1;
    }
    for (Index t = 1; t < lengths[b]; ++t) {
      const T* __restrict from = x + (t * batch + b) * width;
      for (Index i = 0; i < width; ++i) {
        const bool more = from[i] > most[i] || from[i] != from[i];
        most[i] = more ? from[i] : most[i];
        step[i] = more ? t : step[i];
      }
    }
  }
}

}  // namespace RNNFAST_ISA_NAMESPACE
