#include "cuda/plan.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "core/error.h"
#include "cuda/resources.h"
#include "cuda/roofline.h"

namespace rnnfast::cuda {
namespace {

constexpr std::size_t kReservedBytes = 1024;  // of each block's shared memory, for the system

bool uses_mma(Kernel kernel) { return kernel != Kernel::grid && kernel != Kernel::gemm; }

// Blocks that a multiprocessor holds at once; 0 if a block is too large for it.
int resident_blocks(const Plan& p, const DeviceProperties& d) {
  if (p.shared_bytes > d.shared_per_block) return 0;
  const int registers = uses_mma(p.kernel) ? kMmaRegisters : kFmaRegisters;
  return std::min({d.blocks_per_multiprocessor, d.threads_per_multiprocessor / p.threads,
                   d.registers_per_multiprocessor / (p.threads * registers),
                   int(d.shared_per_multiprocessor / (p.shared_bytes + kReservedBytes))});
}

// The plan with `units` and `rows` per block; none if the device cannot hold it.
std::optional<Plan> shaped(Kernel kernel, const LayerShape& s, const DeviceProperties& d, int units,
                           int rows) {
  Plan p{};
  p.kernel = kernel;
  p.units = units;
  p.slices = divide_up(s.hidden, units);
  p.rows = rows;
  p.sub_batches = divide_up(s.batch, rows);
  p.threads = kThreads;
  p.cluster = kernel == Kernel::cluster ? p.slices : 1;
  p.shared_bytes = shared_bytes(kernel, s, units);
  p.cooperative = p.slices > 1 && p.cluster == 1 && s.stages() > 0;
  if (p.cluster > d.max_cluster) return {};
  // With one slice, a cluster or flags would be a single block.
  if (p.slices == 1 && (kernel == Kernel::cluster || kernel == Kernel::flags)) return {};
  // A cluster occupies one group of multiprocessors, so some stay idle.
  const int places = resident_blocks(p, d) * d.multiprocessors;
  p.resident = kernel == Kernel::cluster ? places / p.cluster * p.cluster : places;
  if (p.resident == 0 || (p.cooperative && p.blocks() > p.resident)) return {};
  p.estimate = estimate(p, s, d);
  return p;
}

Plan gemm_plan(const LayerShape& s, const DeviceProperties& d) {
  Plan p{};
  p.kernel = Kernel::gemm;
  p.units = s.hidden;
  p.rows = s.batch;
  p.slices = p.sub_batches = p.cluster = 1;
  p.threads = kThreads;
  p.estimate = estimate(p, s, d);
  return p;
}

// The fastest of a kernel's shapes: units and rows are a warp's own numbers times powers of two.
std::optional<Plan> best(Kernel kernel, const LayerShape& s, const DeviceProperties& d) {
  if (kernel == Kernel::gemm) return gemm_plan(s, d);
  const int unit_step = uses_mma(kernel) ? kMmaUnits : kFmaUnits;
  const int first_rows = uses_mma(kernel) ? kMmaRows : 1;
  // Blocks that write into each other's slabs must have the same rows.
  const bool one_slab = kernel == Kernel::block || kernel == Kernel::cluster;
  std::optional<Plan> found;
  const auto consider = [&](int units, int rows) {
    const auto plan = shaped(kernel, s, d, std::min(units, s.hidden), rows);
    if (plan && (!found || plan->estimate.step() < found->estimate.step())) found = plan;
  };
  for (int rows = first_rows;; rows *= 2) {
    const int sub_batch = std::min(rows, s.batch);
    if (kernel == Kernel::block) {
      consider(s.hidden, sub_batch);
    } else if (kernel == Kernel::cluster) {
      for (int slices = 2; slices <= d.max_cluster; slices *= 2)
        consider(round_up(divide_up(s.hidden, slices), unit_step), sub_batch);
    } else {
      for (int units = unit_step; units < 2 * s.hidden; units *= 2) consider(units, sub_batch);
      // One slice per multiprocessor, if the sub-batches leave that many.
      const int slices = std::max(1, d.multiprocessors / divide_up(s.batch, sub_batch));
      consider(round_up(divide_up(s.hidden, slices), unit_step), sub_batch);
    }
    if (rows >= s.batch || one_slab) return found;
  }
}

std::string microseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f us", 1e6 * seconds);
  return text;
}

constexpr const char* kKernelNames[] = {"grid", "block", "cluster", "flags", "gemm"};
constexpr const char* kProductsNames[] = {"full", "bfloat16", "bfloat16x3"};

int place(std::span<const char* const> names, const std::string& name, const char* what) {
  const auto found = std::find(names.begin(), names.end(), name);
  RNNFAST_CHECK(found != names.end(), what, ": expected a known name, got ", name);
  return int(found - names.begin());
}

}  // namespace

const char* kernel_name(Kernel kernel) { return kKernelNames[int(kernel)]; }

Kernel kernel_named(const std::string& name) { return Kernel(place(kKernelNames, name, "kernel")); }

Products products_named(const std::string& name) {
  return Products(place(kProductsNames, name, "products"));
}

std::size_t shared_bytes(Kernel kernel, const LayerShape& s, int units) {
  if (kernel == Kernel::gemm) return 0;
  if (uses_mma(kernel))
    return std::size_t(
        MmaMemory(s.cell, s.pass == Pass::backward, units, s.hidden, s.parts()).total());
  return std::size_t(fma_shared_bytes(s.cell.recurrent_gates(), units, s.hidden));
}

std::string refusal(Kernel kernel, const LayerShape& s, const DeviceProperties& d) {
  if (!uses_mma(kernel)) return "";
  if (!always_multiplies(s.cell)) return "needs products in every stage of the cell";
  if (const int sums = std::max(most(s.cell, &Multiplied::sums), most(s.cell, &Multiplied::slabs));
      sums > kMmaSums)
    return "computes at most " + std::to_string(kMmaSums) + " gates in a stage, but the cell has " +
           std::to_string(sums);
  if (s.products == Products::full) return "multiplies only bfloat16";
  if (d.capability < 80) return "needs tensor cores for bfloat16 (compute capability 8.0)";
  if (kernel == Kernel::cluster && d.capability < 90)
    return "needs clusters (compute capability 9.0)";
  return "";
}

Plan choose(const LayerShape& s, const DeviceProperties& d, std::span<const Kernel> kernels) {
  RNNFAST_CHECK(s.batch >= 1 && s.batch <= kMostUnits, "batch: expected 1 to ", kMostUnits,
                ", got ", s.batch);
  RNNFAST_CHECK(s.hidden >= 1 && s.hidden <= kMostUnits, "hidden: expected 1 to ", kMostUnits,
                ", got ", s.hidden);
  std::optional<Plan> chosen;
  std::string compared, refused;
  for (const Kernel kernel : kernels) {
    std::string why = refusal(kernel, s, d);
    std::optional<Plan> plan;
    if (why.empty()) {
      plan = best(kernel, s, d);
      if (!plan) why = "does not fit the device";
    }
    if (!plan) {
      refused.append("; ").append(kernel_name(kernel)).append(" ").append(why);
      continue;
    }
    if (!compared.empty()) compared += ", ";
    compared += kernel_name(kernel);
    compared.append(" ").append(microseconds(plan->estimate.step()));
    if (!chosen || plan->estimate.step() < chosen->estimate.step()) chosen = plan;
  }
  RNNFAST_CHECK(chosen, "no kernel can run this layer: ", refused.substr(refused.empty() ? 0 : 2));
  chosen->reason = std::string("estimates of a step: ").append(compared).append(refused);
  return *chosen;
}

}  // namespace rnnfast::cuda
