#pragma once
// Launches that some device would refuse, and their neighbours that it would not.

#include "selftest_faults.cuh"
#include "selftest_right.h"

namespace selftest {

struct Refusal {
  emulator::Device device;
  Launch launch;
  bool refused;
};

inline const size_t kKiB = emulator::KiB;

inline const Refusal kRefusals[] = {
    {emulator::kH100, {.grid = 1, .block = 1024}, false},
    {emulator::kH100, {.grid = 1, .block = 1025}, true},
    {emulator::kH100, {.grid = 1, .block = {16, 64, 2}}, true},
    {emulator::kH100, {.grid = 1, .block = {1, 1, 65}}, true},
    {emulator::kH100, {.grid = 0, .block = 32}, true},
    {emulator::kH100, {.grid = {1, 65536}, .block = 1}, true},
    // Shared memory.
    {emulator::kH100, {.grid = 1, .block = 32, .shared_bytes = 227 * kKiB}, false},
    {emulator::kH100, {.grid = 1, .block = 32, .shared_bytes = 227 * kKiB + 1}, true},
    {emulator::kA100, {.grid = 1, .block = 32, .shared_bytes = 163 * kKiB + 1}, true},
    {emulator::kRtx, {.grid = 1, .block = 32, .shared_bytes = 99 * kKiB}, false},
    {emulator::kRtx, {.grid = 1, .block = 32, .shared_bytes = 100 * kKiB}, true},
    {emulator::kT4, {.grid = 1, .block = 32, .shared_bytes = 64 * kKiB}, false},
    {emulator::kT4, {.grid = 1, .block = 32, .shared_bytes = 65 * kKiB}, true},
    // Clusters.
    {emulator::kH100, {.grid = 16, .block = 32, .cluster = 16}, false},
    {emulator::kH100, {.grid = 32, .block = 32, .cluster = 32}, true},
    {emulator::kH100, {.grid = 18, .block = 32, .cluster = 4}, true},
    {emulator::kRtx, {.grid = 16, .block = 32, .cluster = 8}, false},
    {emulator::kRtx, {.grid = 16, .block = 32, .cluster = 16}, true},
    {emulator::kA100, {.grid = 2, .block = 32, .cluster = 2}, true},
    {emulator::kT4, {.grid = 2, .block = 32, .cluster = 2}, true},
    // Cooperative grids: limited by blocks, by threads, by shared memory.
    {emulator::kOneMultiprocessor, {.grid = 32, .block = 32, .cooperative = true}, false},
    {emulator::kOneMultiprocessor, {.grid = 33, .block = 32, .cooperative = true}, true},
    {emulator::kOneMultiprocessor, {.grid = 2, .block = 1024, .cooperative = true}, false},
    {emulator::kOneMultiprocessor, {.grid = 3, .block = 1024, .cooperative = true}, true},
    {emulator::kOneMultiprocessor, {.grid = 3, .block = 1024}, false},
    {emulator::kOneMultiprocessor,
     {.grid = 2, .block = 32, .shared_bytes = 113 * kKiB, .cooperative = true},
     false},
    {emulator::kOneMultiprocessor,
     {.grid = 2, .block = 32, .shared_bytes = 114 * kKiB, .cooperative = true},
     true},
    {emulator::kT4, {.grid = 40, .block = 1024, .cooperative = true}, false},
    {emulator::kT4, {.grid = 41, .block = 1024, .cooperative = true}, true},
};

inline bool is_refused(const Launch& shape) {
  try {
    launch(shape, nothing);
  } catch (const rnnfast::Error&) {
    return true;
  }
  return false;
}

inline void run_refusals() {
  int number = 0;
  for (const Refusal& refusal : kRefusals) {
    const OnDevice device(refusal.device);
    RNNFAST_CHECK(is_refused(refusal.launch) == refusal.refused, "refusal ", number, " on ",
                  refusal.device.name, ": ", emulator::last_error);
    ++number;
  }
}

// Registers count where they are known: 64 a thread leave room for 1024 threads.
inline void run_register_limits() {
  const OnDevice device(emulator::kOneMultiprocessor);
  const auto refused = [](int registers, unsigned blocks) {
    emulator::registers = registers;
    const bool result = is_refused({.grid = blocks, .block = 256, .cooperative = true});
    emulator::registers = 0;
    return result;
  };
  RNNFAST_CHECK(!refused(64, 4) && refused(64, 5) && refused(65, 4) && !refused(255, 1),
                "registers");
  emulator::registers = 65;
  const bool too_many = is_refused({.grid = 1, .block = 1024});
  emulator::registers = 0;
  RNNFAST_CHECK(too_many, "65 registers for 1024 threads");
}

// Static shared memory shows only when a kernel runs.
inline void run_static_shared() {
  const OnDevice device(emulator::kOneMultiprocessor);
  std::vector<float> y(32);
  const auto refused = [&](auto kernel, const Launch& shape) {
    try {
      launch(shape, kernel, y.data());
    } catch (const rnnfast::Error&) {
      return true;
    }
    return false;
  };
  RNNFAST_CHECK(!refused(large_static, {.grid = 1, .block = 32}), emulator::last_error);
  RNNFAST_CHECK(refused(too_large_static, {.grid = 1, .block = 32}),
                "49 KiB of static shared memory");
  RNNFAST_CHECK(refused(large_static, {.grid = 1, .block = 32, .shared_bytes = 190 * kKiB}),
                "230 KiB");
  RNNFAST_CHECK(refused(large_static, {.grid = 6, .block = 32, .cooperative = true}),
                "6 blocks of 41 KiB");
}

// On sm_75 there are no asynchronous copies, and they do what plain ones do.
inline void run_copies_without_async() {
  const OnDevice device(emulator::kT4);
  run_pipeline<8>();
}

inline const Case kRefused[] = {{"refusals", run_refusals},
                                {"register_limits", run_register_limits},
                                {"static_shared", run_static_shared},
                                {"copies_without_async", run_copies_without_async}};

}  // namespace selftest
