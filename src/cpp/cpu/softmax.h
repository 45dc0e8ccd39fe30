#pragma once
// The parts of a softmax over one row.

#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

// One row of logits, read a vector at a time. Lanes past the row's end are -inf, which affects
// neither a maximum nor a softmax.
template <class T>
struct Row {
  static constexpr int kWidth = kLanes<T>;
  const T* x;
  Index size;

  RNNFAST_INLINE Vec<T> load(Index i) const {
    if (size - i >= kWidth) return Vec<T>::load(x + i);
    const int n = int(size - i);
    return Vec<T>::lane_numbers() < n ? Vec<T>::load(x + i, n).v : Vec<T>(T(-__builtin_inf())).v;
  }
};

// Reduces a vector's lanes by halves, with f(lanes, the lanes kDistance away).
template <class T, int kDistance, class F, int... kLane>
RNNFAST_INLINE typename Vec<T>::Raw fold(typename Vec<T>::Raw v, F f, Sequence<kLane...> lanes) {
  v = f(v, __builtin_shufflevector(v, v, (kLane ^ kDistance)...));
  if constexpr (kDistance > 1) return fold<T, kDistance / 2>(v, f, lanes);
  return v;
}
template <class T, class F>
RNNFAST_INLINE T folded(Vec<T> x, F f) {
  return fold<T, kLanes<T> / 2>(x.v, f, typename MakeSequence<kLanes<T>>::type{})[0];
}

template <class T>
RNNFAST_INLINE T lane_sum(Vec<T> x) {
  using Raw = typename Vec<T>::Raw;
  return folded(x, [](Raw a, Raw b) -> Raw { return a + b; });
}

template <class T>
T maximum(const Row<T>& row) {
  using Raw = typename Vec<T>::Raw;
  const auto larger = [](Raw a, Raw b) -> Raw { return a > b ? a : b; };
  Raw m = row.load(0).v;
  for (Index i = kLanes<T>; i < row.size; i += kLanes<T>) m = larger(row.load(i).v, m);
  return folded(Vec<T>(m), larger);
}

// The sum of exp(x - max); the terms are stored in e if kStore. Lanes add up only a few values
// before they join the sum in double, so that the error does not grow with the number of classes.
template <bool kStore, class T>
double exp_sum(const Row<T>& row, T max, T* e) {
  constexpr Index kWidth = kLanes<T>, kSpan = 32 * kWidth;
  const Vec<T> shift(max);
  double sum = 0;
  for (Index first = 0; first < row.size; first += kSpan) {
    const Index stop = first + kSpan < row.size ? first + kSpan : row.size;
    Vec<T> lanes(0);
    for (Index i = first; i < stop; i += kWidth) {
      const Vec<T> v = exp(row.load(i) - shift);
      if constexpr (kStore) v.store(e + i, int(stop - i < kWidth ? stop - i : kWidth));
      lanes = lanes + v;
    }
    sum += lane_sum(lanes);
  }
  return sum;
}

}  // namespace RNNFAST_ISA_NAMESPACE
