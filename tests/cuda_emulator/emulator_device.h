#pragma once
// The virtual device: what it has, and which launches it refuses.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "emulator_language.h"

namespace emulator {

struct Device {
  const char* name;
  int capability;  // 90 is 9.0
  int multiprocessors;
  int max_cluster;          // blocks, with the opt-in beyond 8; 1: no clusters
  size_t shared_per_block;  // bytes, with the opt-in
  size_t shared_per_multiprocessor;
  int threads_per_multiprocessor;
  int blocks_per_multiprocessor;
  int registers_per_multiprocessor;
};

constexpr size_t KiB = 1024;
constexpr Device kH100{"H100", 90, 132, 16, 227 * KiB, 228 * KiB, 2048, 32, 65536};
constexpr Device kA100{"A100", 80, 108, 1, 163 * KiB, 164 * KiB, 2048, 32, 65536};
constexpr Device kRtx{"RTX", 120, 84, 8, 99 * KiB, 100 * KiB, 1536, 24, 65536};
constexpr Device kT4{"T4", 75, 40, 1, 64 * KiB, 64 * KiB, 1024, 16, 65536};
constexpr Device kOneMultiprocessor{
    "one multiprocessor", 90, 1, 1, 227 * KiB, 228 * KiB, 2048, 32, 65536};

inline Device device = kH100;
inline int registers = 0;  // a thread of the kernels to come, as ptxas tells; 0: not known

struct Shape {
  dim3 grid, block;
  size_t shared_bytes = 0;
  bool cooperative = false;
  unsigned cluster = 1;  // blocks, along x
};

inline uint64_t volume(const dim3& size) { return uint64_t{size.x} * size.y * size.z; }

// The system takes that much shared memory of every block; from sm_80 on.
inline size_t reserved_shared() { return device.capability >= 80 ? 1 * KiB : 0; }

// Blocks that are on the device at the same time.
inline uint64_t resident_blocks(const Shape& shape) {
  const uint64_t threads = (volume(shape.block) + 31) / 32 * 32;
  uint64_t blocks = device.threads_per_multiprocessor / threads;
  blocks = min<uint64_t>(blocks, device.blocks_per_multiprocessor);
  const size_t shared = shape.shared_bytes + reserved_shared();
  if (shared) blocks = min<uint64_t>(blocks, device.shared_per_multiprocessor / shared);
  if (registers) {
    // Registers are given out in steps of 8 a thread.
    const uint64_t needed = uint64_t(registers + 7) / 8 * 8 * threads;
    blocks = min<uint64_t>(blocks, device.registers_per_multiprocessor / needed);
  }
  return blocks * device.multiprocessors;
}

// Why the device would refuse the launch; empty if it would not.
inline std::string refusal(const Shape& shape) {
  char text[256] = "";
  const auto say = [&](const char* format, auto... values) {
    std::snprintf(text, sizeof text, format, values...);
    return std::string(text);
  };
  const uint64_t threads = volume(shape.block), blocks = volume(shape.grid);
  if (threads == 0 || blocks == 0) return "launch: grid and block must not be empty";
  if (threads > 1024)
    return say("launch: %llu threads a block, at most 1024", (unsigned long long)threads);
  if (shape.block.z > 64) return say("launch: block.z is %u, at most 64", shape.block.z);
  if (shape.grid.x > 0x7fffffffu || shape.grid.y > 65535 || shape.grid.z > 65535)
    return say("launch: grid (%u, %u, %u) exceeds (2^31 - 1, 65535, 65535)", shape.grid.x,
               shape.grid.y, shape.grid.z);
  if (shape.shared_bytes > device.shared_per_block)
    return say("launch: %zu bytes of shared memory a block, but %s has %zu", shape.shared_bytes,
               device.name, device.shared_per_block);
  if (registers * int64_t(threads) > device.registers_per_multiprocessor)
    return say("launch: %d registers a thread are too many for %llu threads", registers,
               (unsigned long long)threads);
  const unsigned cluster = shape.cluster;
  if (cluster == 0 || cluster > unsigned(device.max_cluster))
    return say("launch: cluster of %u, but %s has at most %d", cluster, device.name,
               device.max_cluster);
  if (shape.grid.x % cluster)
    return say("launch: grid.x = %u is no multiple of the cluster of %u", shape.grid.x, cluster);
  if (shape.cooperative && blocks > resident_blocks(shape))
    return say("launch: cooperative grid of %llu blocks, but %s holds %llu at a time",
               (unsigned long long)blocks, device.name, (unsigned long long)resident_blocks(shape));
  return "";
}

}  // namespace emulator
