#pragma once
// What -fsanitize=alignment,bounds finds in a kernel becomes an error of the launch: the device,
// too, refuses a float4 at an address that is no multiple of 16. In the host's code it means
// nothing here. No sanitizer's library is linked: these are its entry points, to which the compiler
// passes a description of the place.

#include "emulator_scheduler.h"

namespace emulator {

struct CheckedPlace {
  const char* file;
  unsigned line, column;
};

struct CheckedType {
  uint16_t kind, info;
  char name[1];  // quoted
};

struct MisalignedAccess {
  CheckedPlace place;
  const CheckedType* type;
  unsigned char log_alignment, kind;
};

struct IndexOutside {
  CheckedPlace place;
  const CheckedType *array, *index;
};

inline bool in_kernel() { return current != &main_fiber; }

}  // namespace emulator

#define EMULATOR_CHECK extern "C" inline __attribute__((used, noinline, visibility("hidden"))) void

EMULATOR_CHECK __ubsan_handle_type_mismatch_v1(void* data, void*) {
  const auto& check = *static_cast<const emulator::MisalignedAccess*>(data);
  if (emulator::in_kernel())
    emulator::fail("misaligned: address of %s is no multiple of %u at %s:%u", check.type->name,
                   1u << check.log_alignment, check.place.file, check.place.line);
}

EMULATOR_CHECK __ubsan_handle_out_of_bounds(void* data, void* index) {
  const auto& check = *static_cast<const emulator::IndexOutside*>(data);
  if (emulator::in_kernel())
    emulator::fail("index %ld is outside of %s at %s:%u", reinterpret_cast<long>(index),
                   check.array->name, check.place.file, check.place.line);
}

#undef EMULATOR_CHECK
