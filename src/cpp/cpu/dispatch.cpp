#include "cpu/dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <fstream>
#include <string_view>

#include "core/env.h"
#include "core/error.h"

namespace rnnfast {

// CMake gives RNNFAST_ISAS as X(name, vector bytes) entries, best first. Each set's objects define
// these functions in the set's own namespace.
#define X(isa, bytes)                                                \
  namespace isa {                                                    \
  const FormatKernels<float>& format_kernels(const float*);          \
  const FormatKernels<double>& format_kernels(const double*);        \
  const FormatKernels<float>& format_kernels(const Bf16Converted*);  \
  const FormatKernels<float>& format_kernels(const Int8Multiplied*); \
  const DenseKernels<float>& dense_kernels(float);                   \
  const DenseKernels<double>& dense_kernels(double);                 \
  }
RNNFAST_ISAS
#undef X

// Dot products of bfloat16 and of 8-bit integers: a second way for some sets to compute products.
// CMake gives the two lists as X(set, CPU feature) entries, the second of which also names the
// namespace.
#define X(isa, feature)                                       \
  namespace feature {                                         \
  const FormatKernels<float>& format_kernels(const Bf16Dot*); \
  }
RNNFAST_BF16_DOT
#undef X
#define X(isa, feature)                                       \
  namespace feature {                                         \
  const FormatKernels<float>& format_kernels(const Int8Dot*); \
  }
RNNFAST_INT8_DOT
#undef X

namespace {

// The features that the compiler may use in a set's objects, by the names that g++ and clang share
// (each CPU with these has the rest of its x86-64 level, too).
bool cpu_has(std::string_view isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") &&
                  __builtin_cpu_supports("popcnt");
  if (isa == "baseline") return v2;
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (isa == "avx2" || isa == "portable512") return v3;
  return isa == "avx512" && v3 && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return isa == "neon" || isa == "portable512";  // every AArch64 CPU has NEON
#endif
}

// Whether the CPU has dot products beyond its instruction set; portable512 computes them without.
[[maybe_unused]] bool cpu_has_dot(std::string_view feature) {
  if (feature == "portable512") return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (feature == "avx512bf16") return __builtin_cpu_supports("avx512bf16");
  if (feature == "avx512vnni") return __builtin_cpu_supports("avx512vnni");
  // clang 14 does not know this one by name.
  unsigned a = 0, b = 0, c = 0, d = 0;
  return feature == "avxvnni" && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
#else
  return false;
#endif
}

// The kernels that compute products as dot products beside the active set; null if this CPU or the
// set has none.
template <class P>
using DotKernels = const FormatKernels<float>& (*)(const P*);
#define X(isa, feature) \
  if (active == #isa && cpu_has_dot(#feature)) return feature::format_kernels;
DotKernels<Bf16Dot> bf16_dot_kernels() {
  [[maybe_unused]] const std::string_view active = active_isa().name;
  RNNFAST_BF16_DOT
  return nullptr;
}
DotKernels<Int8Dot> int8_dot_kernels() {
  [[maybe_unused]] const std::string_view active = active_isa().name;
  RNNFAST_INT8_DOT
  return nullptr;
}
#undef X

// Whether dot products are faster than conversions and multiply-adds. AMD's (Zen 4, Zen 5) process
// two values in the time of one multiply-add; Intel's take as long as four. Tests with portable512
// should not depend on the CPU.
bool bf16_dot_is_fast() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_is("amd") || std::string_view(active_isa().name) == "portable512";
#else
  return true;
#endif
}

// How to compute a format's products: "dot" if that is possible and fast, else `other`; or what an
// environment variable names.
std::string choose_way(const char* variable, const std::string& other, bool has_dot, bool is_fast) {
  const std::string wanted = env_string(variable).value_or(has_dot && is_fast ? "dot" : other);
  RNNFAST_CHECK(wanted == other || (wanted == "dot" && has_dot), "environment variable ", variable,
                ": expected one of ", other, has_dot ? ", dot" : "",
                " (those that this CPU supports with the instruction set ", active_isa().name,
                "), got '", wanted, "'");
  return wanted;
}

std::string names(const std::vector<Isa>& isas) {
  std::string text;
  for (const Isa& isa : isas) {
    if (!text.empty()) text += ", ";
    text += isa.name;
  }
  return text.empty() ? "none" : text;
}

const Isa& choose() {
  const std::vector<Isa>& compiled = compiled_isas();
  std::vector<Isa> usable;
  std::copy_if(compiled.begin(), compiled.end(), std::back_inserter(usable), isa_supported);
  RNNFAST_CHECK(!usable.empty(),
                "this CPU supports none of the compiled instruction sets: ", names(compiled));
  const std::string wanted = env_string("RNNFAST_ISA").value_or(usable.front().name);
  const auto is_wanted = [&](const Isa& isa) { return isa.name == wanted; };
  RNNFAST_CHECK(std::any_of(usable.begin(), usable.end(), is_wanted),
                "environment variable RNNFAST_ISA: expected one of ", names(usable),
                " (those of the compiled ", names(compiled), " that this CPU supports), got '",
                wanted, "'");
  return *std::find_if(compiled.begin(), compiled.end(), is_wanted);
}

}  // namespace

// The statics are never destroyed: daemon threads may compute while the process ends.
const std::vector<Isa>& compiled_isas() {
#define X(isa, bytes)   \
  {#isa,                \
   8 * (bytes),         \
   isa::format_kernels, \
   isa::format_kernels, \
   isa::format_kernels, \
   isa::format_kernels, \
   isa::dense_kernels,  \
   isa::dense_kernels},
  static const auto& isas = *new std::vector<Isa> { RNNFAST_ISAS };
#undef X
  return isas;
}

bool isa_supported(const Isa& isa) { return cpu_has(isa.name); }

const Isa& active_isa() {
  static const Isa& active = choose();
  return active;
}

const std::string& active_bf16() {
  static const auto& active = *new std::string(
      choose_way("RNNFAST_BF16", "convert", bf16_dot_kernels() != nullptr, bf16_dot_is_fast()));
  return active;
}

const std::string& active_int8() {
  static const auto& active =
      *new std::string(choose_way("RNNFAST_INT8", "multiply", int8_dot_kernels() != nullptr, true));
  return active;
}

template <>
const FormatKernels<float>& format_kernels<float>(Precision precision) {
  if (precision == Precision::full) return active_isa().rnn_float({});
  if (precision == Precision::int8)
    return active_int8() == "dot" ? int8_dot_kernels()(nullptr) : active_isa().rnn_int8({});
  return active_bf16() == "dot" ? bf16_dot_kernels()(nullptr) : active_isa().rnn_bf16({});
}
template <>
const FormatKernels<double>& format_kernels<double>(Precision precision) {
  RNNFAST_CHECK(
      precision == Precision::full,
      "precision: products other than those of the arrays' dtype need float32, got float64");
  return active_isa().rnn_double({});
}
template <>
const DenseKernels<float>& dense<float>() {
  return active_isa().dense_float({});
}
template <>
const DenseKernels<double>& dense<double>() {
  return active_isa().dense_double({});
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0)
      return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

}  // namespace rnnfast
