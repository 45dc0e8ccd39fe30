#pragma once
// A case of the emulator's own tests: a function of the host that launches kernels. It throws if
// the launch fails or the results are wrong.

#include <cmath>
#include <numeric>
#include <vector>

#include "cuda/device.cuh"

namespace selftest {

using namespace rnnfast::cuda;

struct Case {
  const char* name;
  void (*run)();
};

// The virtual device while it lives.
class OnDevice {
 public:
  explicit OnDevice(const emulator::Device& device) : before_(emulator::device) {
    emulator::device = device;
  }
  ~OnDevice() { emulator::device = before_; }

 private:
  emulator::Device before_;
};

inline std::vector<float> counted(size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

// Fresh device memory: reading what nobody wrote gives a NaN.
inline std::vector<float> unwritten(size_t n) { return std::vector<float>(n, NAN); }

inline void expect_equal(const std::vector<float>& got, const std::vector<float>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    RNNFAST_CHECK(got[i] == expected[i], "wrong value: expected ", expected[i], " at ", i, ", got ",
                  got[i]);
}

}  // namespace selftest
