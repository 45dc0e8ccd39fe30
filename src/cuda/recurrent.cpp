#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

const RecurrentKernel& recurrent_kernel(Kernel kernel) {
  static constexpr const RecurrentKernel* kernels[] = {&grid, &mma_block, &mma_cluster, &mma_flags,
                                                       &gemm_step};  // in the order of Kernel
  return *kernels[int(kernel)];
}

std::vector<std::string> function_names(Kernel kernel, Pass pass, bool paired, const CellInfo& info,
                                        const std::string& cell) {
  const bool forward = pass == Pass::forward;
  const std::string name = forward ? "forward" : "backward", space = "rnnfast::cuda::";
  if (kernel == Kernel::grid) return {space + name + "_grid_kernel<" + cell + ">"};
  if (kernel == Kernel::gemm) {
    const std::string begin = space + "stepwise::" + name + "_";
    std::vector<std::string> names;
    for (const char* part : {"begin", "end"})
      if (forward) names.push_back(begin + part + "<" + cell + ">");
    if (!forward) names.push_back(begin + "last<" + cell + ">");
    for (int k = info.first(); k < info.size() - !forward; ++k)
      names.push_back(begin + "stage<" + cell + ", " + std::to_string(k) + ">");
    return names;
  }
  const char* exchange = kernel == Kernel::block     ? "BlockExchange"
                         : kernel == Kernel::cluster ? "ClusterExchange"
                                                     : "FlagExchange";
  return {space + name + "_mma_kernel<" + cell + ", " + (paired ? "true" : "false") + ", " + space +
          exchange + ">"};
}

const char* header_of(Kernel kernel) {
  if (kernel == Kernel::grid) return "cuda/grid_kernels.cuh";
  return kernel == Kernel::gemm ? "cuda/stepwise_kernels.cuh" : "cuda/mma_kernels.cuh";
}

}  // namespace rnnfast::cuda
