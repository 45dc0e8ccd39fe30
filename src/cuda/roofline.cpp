#include "cuda/roofline.h"

#include <algorithm>
#include <cmath>

#include "cuda/resources.h"

namespace rnnfast::cuda {
namespace {

// Fractions of the peaks that such kernels reach.
constexpr double kFmaShare = 0.5;  // weights come from shared memory
constexpr double kMmaShare = 0.6;  // mma.sync against wgmma
constexpr double kGemmShare = 0.7;
// For a matrix product: the side of a block's tile of C, and the blocks that share a tile.
constexpr int kGemmTile = 64, kGemmSplit = 2;

constexpr double kGridBarrier = 1.3e-6, kFlag = 0.5e-6, kClusterHop = 0.1e-6;
constexpr double kBlockBarrier = 0.05e-6, kGraphNode = 1.5e-6;
constexpr double kPointwise = 0.1e-6;

// Bytes that a step reads and writes in any kernel: gates, states, y and backward's arrays.
double step_bytes(const LayerShape& s) {
  const CellInfo& c = s.cell;
  const int arrays = s.pass == Pass::forward
                         ? c.gates + c.saved() + 2 * c.states + 1
                         : c.saved() + (c.split() ? 2 : 1) * c.gates + 3 * c.states + c.params + 1;
  return 4. * s.batch * s.hidden * arrays;
}

// The time that blocks wait for each other in a step.
double synchronisation(const Plan& p, const LayerShape& s) {
  const CellInfo& c = s.cell;
  if (p.kernel == Kernel::gemm)  // the products, the pointwise parts
    return kGraphNode * (s.stages() + c.size() - c.first());
  if (p.kernel == Kernel::cluster) return kClusterHop * s.stages();
  if (p.slices == 1) return kBlockBarrier * s.stages();
  return (p.kernel == Kernel::flags ? kFlag : kGridBarrier) * s.stages();
}

}  // namespace

Rates rates(const DeviceProperties& device) {
  Rates r{.clock = 1.7e9, .fma = 128, .mma = 1024, .l2 = 24, .distributed = 12, .memory = 1.0e12};
  const int c = device.capability;
  if (c < 80) {
    r.fma = 64, r.mma = 0, r.memory = 0.3e12;
  } else if (c == 80) {
    r.fma = 64, r.memory = 1.6e12;
  } else if (c == 90) {
    r.mma = 2048, r.memory = 3.35e12;
  } else if (c >= 100 && c < 120) {
    r.mma = 4096, r.memory = 8e12;
  } else {  // workstation and gaming cards
    r.mma = 512;
  }
  return r;
}

Estimate estimate(const Plan& p, const LayerShape& s, const DeviceProperties& device) {
  const Rates r = rates(device);
  const int gates = s.cell.recurrent_gates();
  const double clock = r.clock, cores = device.multiprocessors;
  Estimate e{};
  e.memory = step_bytes(s) / r.memory;
  e.pointwise = kPointwise * (s.pass == Pass::backward ? 1.5 : 1);
  e.synchronisation = synchronisation(p, s);
  if (p.kernel == Kernel::gemm) {
    if (gates == 0) return e;
    const double weights =
        (s.products == Products::full ? 4. : 2. * s.parts()) * s.hidden * s.hidden * gates;
    const double work = double(gates) * s.hidden * s.hidden * s.batch;
    const double rate = s.products == Products::full ? r.fma : r.mma * kMmaShare;
    const double tiles =
        double(divide_up(s.batch, kGemmTile)) * divide_up(gates * s.hidden, kGemmTile) * kGemmSplit;
    e.products = std::max(work / (rate * kGemmShare * std::min(cores, tiles) * clock),
                          weights / (r.l2 * cores * clock));
    return e;
  }
  const double mma = r.mma * kMmaShare / (s.products == Products::bfloat16x3 ? 3 : 1);
  const double blocks = double(p.blocks());
  const double waves = std::ceil(blocks / p.resident);
  const double on_one = std::ceil(std::ceil(blocks / waves) / device.multiprocessors);
  const double work = double(gates) * p.units * s.hidden * p.rows * on_one;
  e.products = waves * work / ((p.kernel == Kernel::grid ? r.fma * kFmaShare : mma) * clock);
  const double values = double(s.hidden) * s.slabs() * p.rows;  // that each block receives
  if (p.kernel == Kernel::cluster)
    e.exchange = 2 * s.parts() * values / (r.distributed * clock);
  else if (p.slices > 1)
    e.exchange = 4 * values * blocks / (r.l2 * cores * clock);
  e.pointwise *= waves;
  return e;
}

}  // namespace rnnfast::cuda
