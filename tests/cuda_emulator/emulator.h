#pragma once
// Runs CUDA C++ kernels on the CPU, compiled by g++: a fiber for each CUDA thread, schedules from a
// seed, and every fault that a schedule meets is an error of the launch, with file, line, block and
// thread.
//
// From the bottom up:
//   emulator_sanitizer.h  what ThreadSanitizer and AddressSanitizer are told
//   emulator_language.h   keywords, vector types, arithmetic
//   emulator_device.h     the virtual device and what it refuses
//   emulator_fiber.h      stacks and the change from one to another
//   emulator_scheduler.h  who runs next; failure, deadlock, livelock
//   emulator_barrier.h    barriers, operations of warps
//   emulator_async.h      shared memory, asynchronous copies and stores, mbarriers
//   emulator_launch.h     the life of a launch
//   emulator_builtins.h   the names that kernels use
//   emulator_checks.h     alignment and indices, where the compiler checks them
//
// Tests set emulator::device, emulator::policy and emulator::seed between launches, and read
// emulator::last_error and emulator::statistics.

// Kernels that are compiled at first use are a library of their own, which shares all state with
// the engine's.
#ifdef EMULATOR_SHARED
#pragma GCC visibility push(default)
#endif
#include "emulator_builtins.h"
#ifdef EMULATOR_CHECKS
#include "emulator_checks.h"
#endif
#ifdef RNNFAST_EMULATED_PTX
#include "ptx/launch.h"
#endif
#ifdef EMULATOR_SHARED
#pragma GCC visibility pop
#endif
