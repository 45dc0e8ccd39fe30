#include "core/system.h"

#include <cstdint>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define RNNFAST_FORKS 1
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#endif

namespace rnnfast {

#if defined(__linux__)

int current_cpu() { return sched_getcpu(); }

void leave_cpu(int cpu) {
  cpu_set_t all;
  if (sched_getcpu() != cpu || sched_getaffinity(0, sizeof(all), &all) != 0) return;
  cpu_set_t others = all;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof(others), &others) != 0) return;
  sched_setaffinity(0, sizeof(all), &all);
}

void advise_large_pages(std::span<std::byte> memory, std::size_t page) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::size_t before = (page - address % page) % page;
  if (memory.size() < before + page) return;
  // Where the kernel refuses, pages stay small.
  madvise(memory.data() + before, (memory.size() - before) / page * page, MADV_HUGEPAGE);
}

Index l2_cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  if (const Index bytes = sysconf(_SC_LEVEL2_CACHE_SIZE); bytes > 0) return bytes;
#endif
  Index kib = 0;
  std::ifstream("/sys/devices/system/cpu/cpu0/cache/index2/size") >> kib;
  return kib * 1024;
}

#else

int current_cpu() { return -1; }
void leave_cpu(int) {}
void advise_large_pages(std::span<std::byte>, std::size_t) {}
Index l2_cache_bytes() { return 0; }

#endif

#if defined(RNNFAST_FORKS)
void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  pthread_atfork(before, in_parent, in_child);
}
#else
void at_fork(void (*)(), void (*)(), void (*)()) {}
#endif

}  // namespace rnnfast
