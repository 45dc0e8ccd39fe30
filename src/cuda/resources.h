#pragma once
// The resources that a block of each kernel needs, for kernels and plan: plain functions without
// CUDA.

#include "core/index.h"
#include "cuda/multiplied.h"

namespace rnnfast::cuda {

inline constexpr int kThreads = 256;  // of every recurrent kernel's block

RNNFAST_INLINE constexpr int round_up(int n, int multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
RNNFAST_INLINE constexpr int divide_up(int n, int by) { return (n + by - 1) / by; }

// Multiply-adds in float32 (fma_product.cuh): weights [gate][unit][depth], then two slabs
// [row][depth] that alternate between being filled and read.
inline constexpr int kFmaRows = 8;   // per slab, at most
inline constexpr int kFmaUnits = 4;  // units are padded to this
inline constexpr int kFmaRegisters = 168;

RNNFAST_INLINE constexpr Index fma_shared_bytes(int gates, int units, int hidden) {
  if (gates == 0) return 0;
  return Index(4) * round_up(hidden, 4) *
         (Index(gates) * round_up(units, kFmaUnits) + 2 * kFmaRows);
}

// Tensor cores (mma_product.cuh). A product computes `sums` for each unit from some slabs. The 16
// rows of an instruction are two sums of eight units, so an odd number of sums takes 16 units.
inline constexpr int kMmaRows = 8;
inline constexpr int kMmaUnits = 16;  // units are padded to this
inline constexpr int kMmaRegisters = 255;
inline constexpr int kMmaSums =
    8;  // per product, and as many slabs: more would not fit the registers

RNNFAST_INLINE constexpr int mma_octets(int sums) { return 1 + sums % 2; }
RNNFAST_INLINE constexpr int mma_depth(int hidden) { return round_up(hidden, 32); }
// Chunks of 32 steps of the depth whose weights a warp keeps in registers: fewer if there are many
// sums, as these, their operands and their pointwise part need registers, too.
RNNFAST_INLINE constexpr int mma_held_chunks(int blocks, int sums, int parts) {
  const int registers = sums * parts > 6 ? 32 : 64;
  return registers / (8 * parts * blocks);
}
// The row stride of a slab in words, 64 bytes modulo 128 so that the banks differ.
RNNFAST_INLINE constexpr int mma_stride(int hidden) {
  const int words = mma_depth(hidden) / 2;
  return words % 32 == 0 ? words + 16 : words;
}

// How the 8 warps of a block share a product.
struct MmaShape {
  int groups;   // of units: a warp computes one at a time
  int abreast;  // groups that different warps compute at once
  int rounds;   // until all are computed
  int chunks;   // of the depth
  int splits;   // warps that share a group's depth, if one round suffices
  int split_chunks;
  int held;  // of each split's chunks in registers

  // `holds`: whether weights are kept in registers, as those of a step's first product are.
  RNNFAST_INLINE constexpr MmaShape(int units, int hidden, int slabs, int sums, int parts,
                                    bool holds)
      : groups(divide_up(units, 8 * mma_octets(sums))),
        abreast(groups < kThreads / 32 ? groups : kThreads / 32),
        rounds(divide_up(groups, abreast)),
        chunks(mma_depth(hidden) / 32),
        splits(rounds > 1 ? 1 : kThreads / 32 / abreast),
        split_chunks(0),
        held(0) {
    if (splits > chunks) splits = chunks;
    split_chunks = divide_up(chunks, splits);
    splits = divide_up(chunks, split_chunks);
    if (!holds || rounds > 1) return;
    held = mma_held_chunks(slabs * sums * mma_octets(sums) / 2, sums, parts);
    if (held > split_chunks) held = split_chunks;
  }
  // Bytes of the weights in shared memory, and of what the splits exchange.
  RNNFAST_INLINE constexpr Index weight_bytes(int slabs, int sums, int parts) const {
    const Index blocks = slabs * sums * mma_octets(sums) / 2;
    return Index(1024) * parts * blocks * groups * splits * (split_chunks - held);
  }
  RNNFAST_INLINE constexpr Index partial_bytes(int sums) const {
    return Index(128) * (splits - 1) * abreast * sums * mma_octets(sums) * 2;
  }
};

// A block's shared memory: weights and slabs of each stage (all have products), then what the
// splits exchange, then barriers.
struct MmaMemory {
  Index weights_at[kMaxStages] = {};
  Index slabs_at[kMaxStages] = {};  // two buffers of a stage's operands
  Index used = 0;                   // by weights and slabs
  Index partial = 0;                // two buffers
  int stages = 0;

  MmaMemory() = default;
  RNNFAST_INLINE constexpr MmaMemory(const CellInfo& cell, bool backward, int units, int hidden,
                                     int parts) {
    for (int k = cell.first(); k < cell.size(); ++k) {
      const Multiplied stage(cell, k);
      add(k - cell.first(), stage.sums, stage.slabs, backward, units, hidden, parts);
    }
  }
  // Adds the n-th stage.
  RNNFAST_INLINE constexpr void add(int n, int gates, int operands, bool backward, int units,
                                    int hidden, int parts) {
    const int slabs = backward ? gates : operands, sums = backward ? operands : gates;
    const MmaShape shape(units, hidden, slabs, sums, parts, n == 0);
    weights_at[n] = used;
    used += shape.weight_bytes(slabs, sums, parts);
    slabs_at[n] = used;
    used += Index(2) * slabs * parts * kMmaRows * 4 * mma_stride(hidden);
    const Index both = 2 * shape.partial_bytes(sums);
    partial = both > partial ? both : partial;
    stages = n + 1;
  }
  RNNFAST_INLINE constexpr Index barriers_at(int n) const {
    return used + partial + 2 * 8 * Index(n);
  }
  RNNFAST_INLINE constexpr Index total() const { return barriers_at(stages); }
};

}  // namespace rnnfast::cuda
