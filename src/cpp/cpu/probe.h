#pragma once
// The machine's peak rates for one instruction set: bare loops of multiply-adds in registers and of
// memory reads. Benchmarks report kernels as a share of these.

#include "cpu/gemm.h"

namespace RNNFAST_ISA_NAMESPACE {

// Independent sums: enough to hide the latency of a multiply and an add, few enough that they and
// their operands fit the 16 registers of the smaller sets.
inline constexpr int kProbeSums = 12;

// Runs `rounds` rounds of a format's multiply-adds, kProbeSums vectors each, and returns a value
// that depends on all of them.
template <class P>
double probe_multiply_adds(Index rounds) {
  using T = RealOf<P>;
  RawOf<P> row = broadcast(T(0.5)), column = broadcast(T(0.5));
  SumOf<P> sums[kProbeSums];
  for (int k = 0; k < kProbeSums; ++k) sums[k] = (SumOf<P>)broadcast(T(k));
#pragma GCC unroll 1
  for (Index i = 0; i < rounds; ++i) {
    RNNFAST_KEEP(row);  // or the compiler would move the product out of the loop
    RNNFAST_KEEP(column);
#pragma GCC unroll 12
    for (int k = 0; k < kProbeSums; ++k) sums[k] = Format<P>::multiply_add(sums[k], row, column);
  }
  SumOf<P> total{};
  for (const SumOf<P>& sum : sums) total += sum;
  return double(total[0]);
}

template <class P>
inline constexpr Index kProbeRoundFlops =
    2 * kProbeSums * kLanes<RealOf<P>> * Format<P>::kStep / Format<P>::kParts;

// Reads n values into registers, rounded down to whole steps of kProbeSums vectors.
template <class T>
double probe_read(const T* x, Index n) {
  using Raw = typename Vec<T>::Raw;
  constexpr Index kStep = kProbeSums * kLanes<T>;
  Raw sums[kProbeSums] = {};
  for (Index i = 0; i + kStep <= n; i += kStep)
#pragma GCC unroll 12
    for (int k = 0; k < kProbeSums; ++k) sums[k] += Vec<T>::load(x + i + k * kLanes<T>).v;
  Raw total{};
  for (const Raw& sum : sums) total += sum;
  return double(total[0]);
}

}  // namespace RNNFAST_ISA_NAMESPACE
