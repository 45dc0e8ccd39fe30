#include "cuda/mma_launch.cuh"
#include "cuda/runtime.h"

namespace rnnfast::cuda {
namespace {

void mark_empty(float* values, Index count, cudaStream_t stream) {
  if (count) fill_bytes(values, 0xff, count * sizeof(float), stream);
}
static_assert(FlagExchange::kEmpty == 0xffffffffu);

void forward(const Functions& functions, const CellInfo& info, const Plan& plan,
             const ForwardArgs& args, cudaStream_t stream) {
  const CallSize& size = args.size;
  mark_empty(args.states, size.row(1, 0, 0), stream);  // only h
  mark_empty(args.openings, size.row(info.opening_values(), 0, 0), stream);
  const int values = info.values() - info.opening_values();
  mark_empty(args.values, values * size.row(size.steps, 0), stream);
  run_persistent(functions, info, plan, args, stream);
}

void backward(const Functions& functions, const CellInfo& info, const Plan& plan,
              const BackwardArgs& args, cudaStream_t stream) {
  mark_empty(args.dgates_h, args.size.row(args.size.steps, 0) * info.gates, stream);
  run_persistent(functions, info, plan, args, stream);
}

}  // namespace

const RecurrentKernel mma_flags{&forward, &backward, &mma_functions<FlagExchange>};

}  // namespace rnnfast::cuda
