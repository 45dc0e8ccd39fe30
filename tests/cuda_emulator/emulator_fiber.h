#pragma once
// Fibers: one stack for each CUDA thread, all on the one thread of the host that launches.

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>

#include "emulator_language.h"
#include "emulator_sanitizer.h"

#if !defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)
#define EMULATOR_UCONTEXT
#endif
#ifdef EMULATOR_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

using Site = std::source_location;  // of a CUDA operation in a kernel

struct Block;

// cp.async that was issued and not yet waited for.
struct Copy {
  void* target;
  const void* source;
  int bytes;
  int group;
  Site site;
};

struct Fiber {
  Block* block = nullptr;
  uint3 thread{};      // threadIdx
  unsigned index = 0;  // of the thread in its block
  bool exited = false;
  Site site;                     // where it waits, or last did
  int ready_at = -1;             // its place among those that can run
  Fiber* next = nullptr;         // in the list of those that wait for the same
  const void* waits = nullptr;   // mbarrier that it waits for
  const void* polled = nullptr;  // address of its last poll
  uint64_t cluster_phase = 0;    // of the cluster barrier that it arrived at
  bool cluster_arrived = false;
  Copy* copies = nullptr;  // only this fiber touches them until it ends
  int copy_count = 0, copy_capacity = 0, copy_group = 0;

  char* stack = nullptr;
  size_t stack_bytes = 0;
#ifdef EMULATOR_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer = nullptr;
#endif
  void* tsan = nullptr;
  bool tsan_kept = false;      // for the next launch
  void* fake_stack = nullptr;  // AddressSanitizer's
};

inline Fiber main_fiber;              // the host's stack
inline Fiber* current = &main_fiber;  // that which runs
inline unsigned lane() { return current->index % 32; }

constexpr size_t kStackBytes = (kThreadSanitizer || kAddressSanitizer ? 256 : 64) * 1024;

#ifdef EMULATOR_UCONTEXT

EMULATOR_UNTRACED inline void prepare_stack(Fiber& fiber, void (*entry)(), unsigned) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

EMULATOR_UNTRACED inline void change_stack(Fiber& from, Fiber& to) {
  swapcontext(&from.context, &to.context);
}

#else

// Saves what a call must preserve on the old stack and takes the same from the new one.
__attribute__((naked, noinline)) inline void change_stack_pointer(void** /*from*/, void* /*to*/) {
  asm volatile(
      "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n"
      "popq %rcx\n jmp *%rcx\n");
}

EMULATOR_UNTRACED inline void prepare_stack(Fiber& fiber, void (*entry)(), unsigned number) {
  // Tops at equal offsets from a page would all lie in the same few sets of the cache: they are
  // spread.
  char* top = fiber.stack + kStackBytes - number * 448 % 16384 / 64 * 64;
  auto** words = reinterpret_cast<void**>(top);
  *--words = nullptr;  // nobody to return to
  *--words = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--words = nullptr;
  fiber.stack_pointer = words;
}

EMULATOR_UNTRACED inline void change_stack(Fiber& from, Fiber& to) {
  change_stack_pointer(&from.stack_pointer, to.stack_pointer);
}

#endif

// First thing on a stack that is entered, anew or again.
EMULATOR_UNTRACED inline void stack_entered([[maybe_unused]] void* fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
  const void* from = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &from, &bytes);
  if (!main_fiber.stack) {  // the first change of all comes from the host's stack
    main_fiber.stack = static_cast<char*>(const_cast<void*>(from));
    main_fiber.stack_bytes = bytes;
  }
#endif
}

// Stacks for that many fibers of a wave; they stay for the next launch, which comes after it. For
// ThreadSanitizer another wave of the same launch does not: new pages have no history.
EMULATOR_UNTRACED inline char* stacks(size_t count, bool first_wave) {
  static char* base = nullptr;
  static size_t have = 0;
  if (count > have || (kThreadSanitizer && !first_wave)) {
    if (base) munmap(base, have * kStackBytes);
    void* pages = mmap(nullptr, count * kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
      std::perror("emulator: stacks");
      std::abort();
    }
    base = static_cast<char*>(pages);
    have = count;
  }
  return base;
}

}  // namespace emulator
