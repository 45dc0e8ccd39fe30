#pragma once
// Shared by the bindings of dense layers: sizes of arrays of any rank, and a loop that splits work
// over threads at borders that depend only on the sizes.

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "bindings/array.h"
#include "core/error.h"
#include "core/threads.h"
#include "cpu/dense_table.h"

namespace rnnfast {

inline constexpr Index kThreadWork =
    65536;  // below this many elements a second thread does not pay

template <class T>
void check_rank(const char* name, const Array<T>& a, int rank) {
  RNNFAST_CHECK(a.ndim() == rank, name, ": expected rank ", rank, ", got rank ", a.ndim());
}

// The last axis of an array (..., last), which is treated as a matrix of all its rows.
template <class T>
Index last_axis(const char* name, const Array<T>& a) {
  RNNFAST_CHECK(a.ndim() >= 1, name, ": expected rank 1 or more, got 0");
  return a.shape(a.ndim() - 1);
}
template <class T>
Index row_count(const Array<T>& a, Index last) {
  return last ? a.size() / last : 0;
}

// The first `count` sizes of an array's shape, followed by `last`.
template <class T>
std::vector<Index> extended(const Array<T>& a, pybind11::ssize_t count, Index last) {
  std::vector<Index> shape(a.shape(), a.shape() + count);
  shape.push_back(last);
  return shape;
}

// Runs body(begin, end) over [0, count) in shares of whole `unit`s. `work` is the total cost.
template <class Body>
void share(Index count, Index unit, Index work, const Body& body) {
  const Index units = (count + unit - 1) / unit;
  const Index useful = std::min(units, 1 + work / kThreadWork);
  const int threads = static_cast<int>(std::min<Index>(useful, num_threads()));
  parallel(threads, [&](const Team& team, int thread) {
    const Index begin = units * thread / team.size * unit;
    const Index end = std::min(count, units * (thread + 1) / team.size * unit);
    if (begin < end) body(begin, end);
  });
}

// Returns the activation with this name. Throws Error if there is none.
inline Activation activation_named(const std::string& kind) {
  constexpr std::array<const char*, kActivations> kNames = {"tanh", "sigmoid",   "relu",
                                                            "gelu", "gelu_tanh", "silu"};
  const auto found = std::find(kNames.begin(), kNames.end(), kind);
  RNNFAST_CHECK(found != kNames.end(),
                "kind: expected tanh, sigmoid, relu, gelu, gelu_tanh or silu, got ", kind);
  return Activation(found - kNames.begin());
}

}  // namespace rnnfast
