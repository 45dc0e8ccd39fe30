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
#elif defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <vector>
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

#elif defined(_WIN32)

namespace {
constexpr int kGroup = 64;  // CPUs that a mask has bits for
}

int current_cpu() {
  PROCESSOR_NUMBER cpu;
  GetCurrentProcessorNumberEx(&cpu);
  return cpu.Group * kGroup + cpu.Number;
}

void leave_cpu(int cpu) {
  const HANDLE thread = GetCurrentThread();
  GROUP_AFFINITY all;
  if (current_cpu() != cpu || !GetThreadGroupAffinity(thread, &all)) return;
  GROUP_AFFINITY others = all;
  others.Mask &= ~(KAFFINITY{1} << cpu % kGroup);
  if (others.Mask == 0 || !SetThreadGroupAffinity(thread, &others, nullptr)) return;
  SetThreadGroupAffinity(thread, &all, nullptr);
}

// Windows has large pages only for processes with a privilege, and takes no advice.
void advise_large_pages(std::span<std::byte>, std::size_t) {}

Index l2_cache_bytes() {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);  // fails, and tells the size
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> parts(bytes / sizeof(parts[0]));
  if (!GetLogicalProcessorInformation(parts.data(), &bytes)) return 0;
  for (const auto& part : parts)
    if (part.Relationship == RelationCache && part.Cache.Level == 2) return part.Cache.Size;
  return 0;
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
