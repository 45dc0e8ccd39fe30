#pragma once
// Launches of the kernels without a fault. They must pass under all policies and seeds, and be
// clean under the sanitizers.

#include "selftest_case.h"
#include "selftest_kernels.cuh"

namespace selftest {

inline void run_sum_grid() {
  const std::vector<float> x = counted(5 * 128);
  std::vector<float> sums = unwritten(5), total = unwritten(5);
  std::vector<unsigned> arrived(1);
  launch({.grid = 5, .block = 128, .cooperative = true}, sum_grid, x.data(), sums.data(),
         total.data(), arrived.data());
  expect_equal(total, std::vector<float>(5, 640 * 641 / 2));
}

template <int BYTES>
inline void run_pipeline() {
  constexpr int kThreads = 48, kSteps = 7, kWidth = kThreads * BYTES / 4;
  const std::vector<float> x = counted(kSteps * kWidth);
  std::vector<float> y = unwritten(kThreads), expected(kThreads);
  for (int i = 0; i < kThreads; ++i)
    for (int step = 0; step < kSteps; ++step)
      expected[i] += x[step * kWidth + (i + 1) * BYTES / 4 % kWidth];
  launch({.grid = 1, .block = kThreads, .shared_bytes = 3 * kWidth * sizeof(float)},
         pipeline<BYTES>, x.data(), y.data(), kSteps);
  expect_equal(y, expected);
}

inline void run_half_warps() {
  std::vector<float> y = unwritten(32), expected(32);
  for (int i = 0; i < 32; ++i)
    expected[i] = (i < 16 ? 120 : 16 + (i + 3) % 16) + (i < 28 ? i + 4 : i);
  launch({.grid = 1, .block = 32}, half_warps, y.data());
  expect_equal(y, expected);
}

inline void run_multiply() {
  std::vector<float> a(16 * 16), b(16 * 8), d = unwritten(16 * 8), expected(16 * 8, 1);
  for (int i = 0; i < 256; ++i) a[i] = i * 7 % 31 - 15;
  for (int i = 0; i < 128; ++i) b[i] = i * 5 % 17 - 8;
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c)
      for (int k = 0; k < 16; ++k) expected[r * 8 + c] += a[r * 16 + k] * b[k * 8 + c];
  launch({.grid = 1, .block = 32}, multiply, a.data(), b.data(), d.data());
  expect_equal(d, expected);
}

inline void run_exchange() {
  constexpr int kThreads = 40, kSteps = 6, kRanks = 4;
  std::vector<uint32_t> y(2 * kRanks * kThreads);
  launch({.grid = 2 * kRanks,
          .block = kThreads,
          .shared_bytes = 64 + 2 * kRanks * kThreads * 8,
          .cluster = kRanks},
         exchange, y.data(), kSteps);
  for (unsigned i = 0; i < y.size(); ++i) {
    uint32_t value = 6 * kThreads + 4 * (i % kThreads);  // the four ranks' first values
    for (int step = 1; step < kSteps; ++step) value = 4 * (value + step);
    RNNFAST_CHECK(y[i] == value, "wrong value: expected ", value, " at ", i, ", got ", y[i]);
  }
}

inline void run_flags() {
  std::vector<unsigned> words(6, 0xffffffffu), y(6);
  launch({.grid = 6, .block = 2, .cooperative = true}, flags, words.data(), y.data());
  for (unsigned b = 0; b < 6; ++b) RNNFAST_CHECK(y[b] == (b + 1) % 6 + 100, "wrong value ", y[b]);
}

inline void run_histogram() {
  constexpr unsigned kBlocks = 5 * 4, kThreads = 128;
  std::vector<unsigned> x(kBlocks * kThreads), bins(10);
  std::iota(x.begin(), x.end(), 0u);
  std::vector<float> sum(1);
  emulator::statistics = {};
  launch({.grid = {5, 4}, .block = kThreads}, histogram, x.data(), bins.data(), sum.data());
  for (const unsigned count : bins)
    RNNFAST_CHECK(count == kBlocks * kThreads / 10, "wrong count ", count);
  RNNFAST_CHECK(sum[0] == kBlocks / 2.0f, "wrong sum ", sum[0]);
  RNNFAST_CHECK(emulator::statistics.most_threads <= 1024,
                "threads at a time: ", emulator::statistics.most_threads);
}

inline const Case kRight[] = {{"sum_grid", run_sum_grid},      {"pipeline_4", run_pipeline<4>},
                              {"pipeline_8", run_pipeline<8>}, {"pipeline_16", run_pipeline<16>},
                              {"half_warps", run_half_warps},  {"multiply", run_multiply},
                              {"exchange", run_exchange},      {"flags", run_flags},
                              {"histogram", run_histogram}};

}  // namespace selftest
