#pragma once
// Chooses the kernel and its shape for one layer and direction: a pure function of sizes and
// device. It tries every kernel in every shape that the device can hold, estimates the time of a
// step from the device's rates, and takes the fastest.
//
// The H hidden units are divided into *slices* of `units` each, and the B sequences into
// *sub-batches* of `rows` each; a block computes one slice of one sub-batch.

#include <span>
#include <string>

#include "core/index.h"
#include "cuda/device_properties.h"
#include "cuda/multiplied.h"

namespace rnnfast::cuda {

enum class Kernel {
  grid,     // weights in shared memory, multiply-adds in float32, a barrier per sub-batch
  block,    // tensor cores; a block has all units, so that blocks never wait
  cluster,  // tensor cores; h goes through the shared memory of a cluster
  flags,    // tensor cores; blocks poll the values of h instead of using a barrier
  gemm,     // a matrix product per step, weights from memory: any size
};
inline constexpr Kernel kKernels[] = {Kernel::block, Kernel::cluster, Kernel::flags, Kernel::grid,
                                      Kernel::gemm};
const char* kernel_name(Kernel kernel);
Kernel kernel_named(const std::string& name);  // throws Error

enum class Products { full, bfloat16, bfloat16x3 };  // the factors; sums are always in float32
Products products_named(const std::string& name);    // throws Error
enum class Pass { forward, backward };

// One layer in one direction.
struct LayerShape {
  CellInfo cell;
  int batch, hidden;
  Products products;
  Pass pass;

  // The (B, H) matrices that blocks exchange in each step: operands, or gradients of gates.
  int slabs() const {
    int first = cell.first();
    while (first < cell.last() && Multiplied(cell, first).sums == 0) ++first;
    const Multiplied stage(cell, first);
    return pass == Pass::forward ? stage.slabs : stage.sums;
  }
  // How many bfloat16 numbers represent one value on tensor cores.
  int parts() const { return products == Products::bfloat16x3 ? 2 : 1; }
  int stages() const { return product_stages(cell); }
};

// The time of a step in seconds, by cause. Products, exchange and the rest add up; memory traffic
// overlaps them.
struct Estimate {
  double products, exchange, synchronisation, pointwise, memory;

  double step() const {
    const double chain = products + exchange + synchronisation + pointwise;
    return chain > memory ? chain : memory;
  }
};

struct Plan {
  Kernel kernel;
  int units, slices;      // hidden units per block; blocks that share the H units
  int rows, sub_batches;  // sequences per block; parts of the batch
  int threads, cluster;   // per block; blocks per cluster, 1: none
  std::size_t shared_bytes;
  bool cooperative;  // all blocks must be on the device at once, as they wait for each other
  int resident;      // how many such blocks fit on the device at once
  Estimate estimate;
  std::string reason;

  Index blocks() const { return Index(slices) * sub_batches; }
};

// Bytes of a block's dynamic shared memory.
std::size_t shared_bytes(Kernel kernel, const LayerShape& shape, int units);

// Why a device or cell cannot use a kernel at any size; empty if it can.
std::string refusal(Kernel kernel, const LayerShape& shape, const DeviceProperties& device);

inline constexpr Index kMostUnits = 1 << 24;  // of a batch or a hidden size

// The plan for the fastest of the given kernels. Throws Error if none of them can run, or the shape
// has more than kMostUnits.
Plan choose(const LayerShape& shape, const DeviceProperties& device,
            std::span<const Kernel> kernels = kKernels);

}  // namespace rnnfast::cuda
