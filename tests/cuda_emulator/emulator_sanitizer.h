#pragma once
// What the sanitizers are told. Under ThreadSanitizer every CUDA thread is a thread of its own,
// ordered with others by nothing but CUDA's synchronisation: the emulator's own code and memory
// stay unseen, and each primitive says by release() and acquire() what it orders. AddressSanitizer
// is told of changes of the stack.

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" {
void __tsan_read_range(void*, unsigned long);
void __tsan_write_range(void*, unsigned long);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// For functions that touch the emulator's own state: their accesses are no business of
// ThreadSanitizer.
#define EMULATOR_UNTRACED __attribute__((no_sanitize("thread"), noinline))

namespace emulator {

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif

// All that the caller did before release(p) comes before what another does after acquire(p).
EMULATOR_UNTRACED inline void release([[maybe_unused]] void* order) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(order);
#endif
}
EMULATOR_UNTRACED inline void acquire([[maybe_unused]] void* order) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(order);
#endif
}

// While it lives, ThreadSanitizer records no access, and memory that is allocated or freed has no
// history: blocks that run one after the other may have the same addresses without being ordered.
class Unrecorded {
 public:
  EMULATOR_UNTRACED Unrecorded() {
#if defined(__SANITIZE_THREAD__)
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
  }
  EMULATOR_UNTRACED ~Unrecorded() {
#if defined(__SANITIZE_THREAD__)
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
  }
  Unrecorded(const Unrecorded&) = delete;
  Unrecorded& operator=(const Unrecorded&) = delete;
};

// An asynchronous copy may touch its memory from its issue on, though it does so only when waited
// for.
inline void record_copy([[maybe_unused]] void* target, [[maybe_unused]] const void* source,
                        [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_THREAD__)
  __tsan_read_range(const_cast<void*>(source), bytes);
  __tsan_write_range(target, bytes);
#endif
}

// Makes any access to the memory of a block that has exited an error.
inline void forbid([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(memory, bytes);
#endif
}
inline void allow([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
#endif
}

}  // namespace emulator
