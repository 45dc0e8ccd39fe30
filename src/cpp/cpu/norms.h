#pragma once
// The norms of a stage: moments of a row over all of its units, more than any block of the
// pointwise part holds. Each thread computes them for its own rows; the order of summation depends
// only on the size.

#include "cells/program.h"
#include "cpu/layout.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

// A row of units stored in tiles, at `at` in the first tile.
template <class T>
struct RowOfTiles {
  const T* at;
  Index tile_stride;
};

// The mean over the units of f(vectors of the rows).
template <class T, class F, class... Row>
T mean_over_units(const Layout<T>& l, Index hidden, F&& f, const Row&... rows) {
  using V = Vec<T>;
  V sum(0);
  for (Index v = 0; v < l.vectors(hidden); ++v) {
    const int lanes = l.lanes(hidden, v);
    const Index in_tile = l.place_of(v) * l.W;
    const V value = f(V::load(rows.at + l.tile_of(v) * rows.tile_stride + in_tile)...);
    T kept[Layout<T>::W];
    V(value).store(kept);
    sum = sum + V::load(kept, lanes);  // ignores lanes beyond the last unit
  }
  T total = 0;
  for (int i = 0; i < l.W; ++i) total += sum.v[i];
  return total / T(hidden);
}

// Computes a row's mean and 1 / deviation.
template <class T>
void row_moments(const Layout<T>& l, Index hidden, const RowOfTiles<T>& row, double eps, T* to) {
  using V = Vec<T>;
  const T mean = mean_over_units(l, hidden, [](V x) { return x; }, row);
  const auto square = [&](V x) -> V { return (x.v - mean) * (x.v - mean); };
  const T variance = mean_over_units(l, hidden, square, row);
  to[0] = mean;
  to[1] = T(1) / T(__builtin_sqrt(variance + eps));
}

// Also computes the means of the gradient of the normalised row, and of gradient times normalised
// row.
template <class T>
void gradient_moments(const Layout<T>& l, Index hidden, const RowOfTiles<T>& row,
                      const RowOfTiles<T>& gradient, double eps, T* to) {
  using V = Vec<T>;
  row_moments(l, hidden, row, eps, to);
  to[2] = mean_over_units(l, hidden, [](V d) { return d; }, gradient);
  const auto product = [&](V x, V d) -> V { return (x.v - to[0]) * to[1] * d.v; };
  to[3] = mean_over_units(l, hidden, product, row, gradient);
}

}  // namespace RNNFAST_ISA_NAMESPACE
