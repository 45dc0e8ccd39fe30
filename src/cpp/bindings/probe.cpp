// Measures the machine's limits, which benchmarks compare the kernels to.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bindings/held.h"
#include "bindings/module.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr Index kRounds = 1000;          // rounds of multiply-adds per count
constexpr double kLong = 1e9;            // enough work to release the GIL
constexpr double kSampleSeconds = 2e-3;  // longer than a barrier, shorter than a time slice

// Samples work(team, thread, count) on all threads for about `seconds` and returns the best rate,
// in counts per second of one thread. Sums the results of `work`, so that the compiler cannot
// remove it.
template <class Work>
double best_rate(double seconds, const Work& work) {
  double best = 0;
  Index count = 1;
  bool done = false;
  parallel(num_threads(), [&](const Team& team, int thread) {
    double kept = 0;
    const auto begin = Clock::now();
    while (!done) {
      team.barrier();
      const auto start = Clock::now();
      kept += work(team, thread, count);
      team.barrier();
      if (thread == 0) {
        const double spent = seconds_since(start);
        if (spent < kSampleSeconds)
          count *= 2;
        else
          best = std::max(best, static_cast<double>(count) / spent);
        done = best > 0 && seconds_since(begin) > seconds;
      }
      team.barrier();
    }
    volatile double sink = kept;
    (void)sink;
  });
  return best;
}

template <class T>
double peak_flops_of(Precision precision, double seconds) {
  const FormatKernels<T>& kernels = format_kernels<T>(precision);
  Index flops = 0;  // of one count on the whole team
  const double rate = best_rate(seconds, [&](const Team& team, int thread, Index count) {
    if (thread == 0) flops = kRounds * kernels.probe_round_flops * team.size;
    return kernels.probe_multiply_adds(count * kRounds);
  });
  return rate * static_cast<double>(flops);
}

double peak_flops(const std::string& dtype, double seconds) {
  const bool bfloat16 = dtype == "bfloat16";
  RNNFAST_CHECK(bfloat16 || dtype == "float32" || dtype == "float64",
                "dtype: expected float32, float64 or bfloat16, got ", dtype);
  const WithoutGil released(kLong, {});
  if (dtype == "float64") return peak_flops_of<double>(Precision::full, seconds);
  return peak_flops_of<float>(bfloat16 ? Precision::bfloat16 : Precision::full, seconds);
}

double bandwidth(Index bytes, double seconds) {
  RNNFAST_CHECK(bytes >= 4096, "bytes: expected at least 4096, got ", bytes);
  const WithoutGil released(kLong, {});
  const DenseKernels<float>& kernels = dense<float>();
  const Buffer buffer = Buffer::allocate(bytes);
  std::fill_n(buffer.as<char>(), bytes, 0);
  const Index values = bytes / static_cast<Index>(sizeof(float));
  return static_cast<double>(bytes) *
         best_rate(seconds, [&](const Team& team, int thread, Index count) {
           const Index begin = values * thread / team.size, end = values * (thread + 1) / team.size;
           double sum = 0;
           for (Index i = 0; i < count; ++i)
             sum += kernels.probe_read(buffer.as<float>() + begin, end - begin);
           return sum;
         });
}

double barrier_seconds(double seconds) {
  const WithoutGil released(kLong, {});
  return 1 / best_rate(seconds, [](const Team& team, int, Index count) {
           for (Index i = 0; i < count; ++i) team.barrier();
           return 0.0;
         });
}

}  // namespace

void bind_probe(py::module_& m) {
  m.def("_peak_flops", &peak_flops, py::arg("dtype"), py::arg("seconds"),
        "Return the highest rate of multiply-adds on all threads, in operations per second.");
  m.def("_bandwidth", &bandwidth, py::arg("bytes"), py::arg("seconds"),
        "Return the highest rate of reads of a working set that is divided among the threads, in "
        "bytes per second.");
  m.def("_barrier_seconds", &barrier_seconds, py::arg("seconds"),
        "Return the least seconds in which all threads pass a barrier.");
}

}  // namespace rnnfast
