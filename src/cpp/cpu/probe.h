#pragma once
// What the machine can do at best, for one instruction set: multiply-adds in registers and reads
// of memory, as loops without anything else. Benchmarks quote kernels as a share of these.

#include "cpu/gemm.h"

namespace RNNFAST_ISA_NAMESPACE {

// Independent sums: enough to hide the latency of a multiply and an add, few enough that they and
// their operands fit the 16 registers of the smaller sets.
inline constexpr int kProbeSums = 12;

// Does `rounds` rounds of multiply-adds, kProbeSums vectors each, and returns a value that needs
// them all.
template <class T>
double probe_multiply_adds(Index rounds) {
  using Raw = typename Vec<T>::Raw;
  Raw factor = broadcast(T(0.5)), term = broadcast(T(1));  // the sums stay near 2
  RNNFAST_KEEP(factor);
  RNNFAST_KEEP(term);
  Raw sums[kProbeSums];
  for (int k = 0; k < kProbeSums; ++k) sums[k] = broadcast(T(k));
#pragma GCC unroll 1
  for (Index i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kProbeSums; ++k) sums[k] = sums[k] * factor + term;
  Raw total{};
  for (const Raw& sum : sums) total += sum;
  return double(total[0]);
}

// Reads n values, as many whole vectors as there are in steps of kProbeSums, into registers.
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
