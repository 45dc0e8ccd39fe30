#pragma once
// Layer normalisation (Ba, Kiros and Hinton 2016): rows of mean 0 and variance 1, scaled and
// shifted. A row stays in the cache while its moments are computed and it is written. The order of
// each sum depends only on the width.

#include "cpu/dense_table.h"
#include "cpu/gemm.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

// Calls f(i, lanes) for the vectors of a row.
template <class T, class F>
RNNFAST_INLINE void for_vectors(Index width, F&& f) {
  constexpr Index W = kLanes<T>;
  Index i = 0;
  for (; i + W <= width; i += W) f(i, int(W));
  if (i < width) f(i, int(width - i));
}

// The mean of f(i, lanes) over a row; lanes beyond the row are ignored.
template <class T, class F>
RNNFAST_INLINE T row_mean(Index width, F&& f) {
  using V = Vec<T>;
  V sum(0);
  for_vectors<T>(width, [&](Index i, int lanes) {
    V value = f(i, lanes);
    if (lanes < kLanes<T>) {
      T kept[kLanes<T>];
      value.store(kept);
      value = V::load(kept, lanes);
    }
    sum = sum + value;
  });
  T total = 0;
  for (int i = 0; i < kLanes<T>; ++i) total += sum.v[i];
  return total / T(width);
}

template <class T>
void layer_norm(const LayerNormArgs<T>& args, T* y, T* moments, Index begin, Index end) {
  using V = Vec<T>;
  for (Index n = begin; n < end; ++n) {
    const T* x = args.x + n * args.width;
    T* to = y + n * args.width;
    const T mean =
        row_mean<T>(args.width, [&](Index i, int lanes) { return V::load(x + i, lanes); });
    const T variance = row_mean<T>(args.width, [&](Index i, int lanes) -> V {
      const typename V::Raw d = V::load(x + i, lanes).v - mean;
      return d * d;
    });
    const T scale = T(1 / __builtin_sqrt(double(variance) + args.eps));
    for_vectors<T>(args.width, [&](Index i, int lanes) {
      const V bias = args.bias ? V::load(args.bias + i, lanes) : V(0);
      const V normal = (V::load(x + i, lanes).v - mean) * scale;
      (normal * V::load(args.weight + i, lanes) + bias).store(to + i, lanes);
    });
    if (!moments) continue;
    moments[2 * n] = mean;
    moments[2 * n + 1] = scale;
  }
}

template <class T>
void layer_norm_dx(const LayerNormArgs<T>& args, const T* moments, const T* dy, T* dx, Index begin,
                   Index end) {
  using V = Vec<T>;
  for (Index n = begin; n < end; ++n) {
    const T *x = args.x + n * args.width, *from = dy + n * args.width;
    const T mean = moments[2 * n], scale = moments[2 * n + 1];
    const auto normal = [&](Index i, int lanes) -> V {
      return (V::load(x + i, lanes).v - mean) * scale;
    };
    const auto gradient = [&](Index i, int lanes) {  // of the normalised row
      return V::load(from + i, lanes) * V::load(args.weight + i, lanes);
    };
    const T part_of_mean = row_mean<T>(args.width, gradient);
    const T part_of_scale = row_mean<T>(
        args.width, [&](Index i, int lanes) { return gradient(i, lanes) * normal(i, lanes); });
    for_vectors<T>(args.width, [&](Index i, int lanes) {
      const V d =
          (gradient(i, lanes).v - part_of_mean - normal(i, lanes).v * part_of_scale) * scale;
      d.store(dx + n * args.width + i, lanes);
    });
  }
}

template <class T>
void layer_norm_dweight(const LayerNormArgs<T>& args, const T* moments, const T* dy, T* dweight,
                        T* dbias, Index begin, Index end) {
  constexpr Index kColumns = 64;
  for (Index first = begin; first < end; first += kColumns) {
    const Index count = min_index(kColumns, end - first);
    T weight[kColumns] = {}, bias[kColumns] = {};
    for (Index n = 0; n < args.rows; ++n) {
      const T *x = args.x + n * args.width + first, *from = dy + n * args.width + first;
      const T mean = moments[2 * n], scale = moments[2 * n + 1];
      for (Index j = 0; j < count; ++j) {
        weight[j] += from[j] * ((x[j] - mean) * scale);
        bias[j] += from[j];
      }
    }
    for (Index j = 0; dweight && j < count; ++j) dweight[first + j] += weight[j];
    for (Index j = 0; dbias && j < count; ++j) dbias[first + j] += bias[j];
  }
}

}  // namespace RNNFAST_ISA_NAMESPACE
