// The emulator's own tests as a library: cases by name, called from Python.

#include <cstring>

#include "selftest_faults.cuh"
#include "selftest_races.cuh"
#include "selftest_refusals.h"
#include "selftest_right.h"

namespace selftest {

constexpr Case kMessage[] = {{"message", run_message}};

const Case* find(const char* name) {
  const auto search = [&](const auto& cases) -> const Case* {
    for (const Case& one : cases)
      if (!std::strcmp(one.name, name)) return &one;
    return nullptr;
  };
  const Case* found = nullptr;
  const auto search_all = [&](const auto&... tables) {
    ((found = found ? found : search(tables)), ...);
  };
  search_all(kRight, kMessage, kRefused, kFaults, kRaces, kAddresses);
  return found;
}

}  // namespace selftest

// Runs a case; returns its error, empty if there was none.
extern "C" __attribute__((visibility("default"))) const char* run_case(const char* name, int policy,
                                                                       uint64_t seed) {
  static std::string error;
  error.clear();
  emulator::policy = static_cast<emulator::Policy>(policy);
  emulator::seed = seed;
  try {
    const selftest::Case* found = selftest::find(name);
    RNNFAST_CHECK(found, "no case ", name);
    found->run();
  } catch (const std::exception& exception) {
    error = exception.what();
  }
  return error.c_str();
}

// Names of the cases of a kind, separated by blanks.
extern "C" __attribute__((visibility("default"))) const char* case_names(const char* kind) {
  static std::string names;
  names.clear();
  const auto add = [&](const char* of, const auto& cases) {
    if (!std::strcmp(of, kind))
      for (const selftest::Case& one : cases) names += std::string(one.name) + " ";
  };
  add("right", selftest::kRight);
  add("right", selftest::kMessage);
  add("refused", selftest::kRefused);
  add("faults", selftest::kFaults);
  add("races", selftest::kRaces);
  add("addresses", selftest::kAddresses);
  return names.c_str();
}
