#pragma once
// Single steps of one layer whose weights stay the same from step to step, as in a loop of PyTorch
// cells: forward reads packed weights, in training as well, and backward packs the weights and
// writes their gradients once for all steps.

#include <vector>

#include "core/memory.h"
#include "rnn/reserve.h"

namespace rnnfast {

// The arrays of a step. `size` has one layer, direction and step.
template <class T>
struct StepInput {
  NetworkSize size;
  const T* x;                     // (B, I)
  std::vector<const T*> initial;  // (B, H) of each state; null for zeros
  const T* context;               // (B, input_gates * H); null for none
};

// Bytes that a step in training keeps for backward: saved values, states beyond h, and h.
template <class T>
std::size_t step_memory(const NetworkSize& size);

// Writes the new states, (B, H) each. In training also writes `memory`; else that is null.
template <class T>
void step_forward(const StepInput<T>& input, const PackedWeights<T>& packed, T* memory,
                  const std::vector<T*>& final);

// The gradients of the weights, summed over the backward passes of any steps.
template <class T>
class StepGradient {
 public:
  // `size` is that of any step; `weights` must outlive the object and stay as they are. Gradients
  // of the weights that are null in `wanted` are not computed.
  StepGradient(const NetworkSize& size, const CellWeights<const T>& weights,
               const CellWeights<const T>& wanted)
      : size_(size), weights_(weights), wanted_(wanted) {}

  // Takes what forward kept and the gradients of the new states (null for zeros). Adds to the sums,
  // to dcontext (null if not wanted), and writes dx (likewise) and the gradients of the initial
  // states.
  void add(const StepInput<T>& input, const T* memory, const std::vector<const T*>& dfinal, T* dx,
           const std::vector<T*>& dinitial, T* dcontext);
  // Writes the sums.
  void write(const CellWeights<T>& dweights);

 private:
  // Makes the workspace at least as large.
  void require(std::size_t bytes);

  NetworkSize size_;
  CellWeights<const T> weights_, wanted_;
  Buffer workspace_;  // starts with packed weights and the sums
  bool empty_ = true;
};

}  // namespace rnnfast
