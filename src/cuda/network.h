#pragma once
// Launches stacked layers and directions in order on one stream, for a forward or backward pass.
// Nothing here allocates or waits: reserve and workspace belong to the caller.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/index.h"
#include "cuda/device_cells.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

struct NetworkSize {
  int cell;  // its number, see device_cells.h
  int steps, batch, input_size, hidden_size;
  int layers, directions;
  bool training;
  bool masked;  // lengths are given
  Products products;
  double dropout;                // on the outputs of all layers but the last, if training
  std::uint64_t seed;            // of the dropout masks
  std::optional<Kernel> kernel;  // the only one allowed; none: the plan chooses

  Plan plan(Pass pass, const DeviceProperties& device) const;
  // The unit that must be loaded before a pass runs.
  KernelUnit unit(Pass pass, const DeviceProperties& device) const;
  int cells() const { return layers * directions; }
  int width() const { return directions * hidden_size; }
  int layer_input(int layer) const { return layer ? width() : input_size; }
  Index rows() const { return Index(steps) * batch; }
  const CellInfo& info() const;
  LayerShape shape(Pass pass) const;
};

// Weights in PyTorch's layouts; biases and channel may be null.
template <class T>
struct Weights {
  T* weight_ih;       // (input_gates * H, I)
  T* weight_hh;       // (recurrent_gates * H, H)
  T* bias_ih;         // (input_gates * H,)
  T* bias_hh;         // (recurrent_gates * H,)
  T* weight_channel;  // (params, H)
};

// The caller's device memory. Each state's array is (cells, B, H).
struct NetworkInput {
  const float* x;                             // (T, B, I), or null
  const std::int64_t* indices;                // (T, B) in [0, I), where x is null
  const int* lengths;                         // (B,) in [0, T]; null unless masked
  std::vector<Weights<const float>> weights;  // of each layer and direction
  std::vector<const float*> initial;          // of each state; null for zeros
};

struct NetworkBytes {
  std::size_t reserve;    // what forward keeps for backward; 0 unless training
  std::size_t workspace;  // scratch of one call
};
NetworkBytes forward_bytes(const NetworkSize& size, const NetworkInput& input);
NetworkBytes backward_bytes(const NetworkSize& size, const NetworkInput& input);

// Writes y (T, B, D * H) and the final states.
void network_forward(const NetworkSize& size, const NetworkInput& input, float* y,
                     const std::vector<float*>& final, void* reserve, void* workspace,
                     const DeviceProperties& device, cudaStream_t stream);

// Takes dy and the gradients of the final states (null for zeros). Writes dx (null if not wanted)
// and the gradients of the initial states, and adds the gradients of the weights to dweights.
// `size`, `input` and `reserve` must be those of forward.
void network_backward(const NetworkSize& size, const NetworkInput& input, const float* dy,
                      const std::vector<const float*>& dfinal, float* dx,
                      const std::vector<float*>& dinitial,
                      const std::vector<Weights<float>>& dweights, void* reserve, void* workspace,
                      const DeviceProperties& device, cudaStream_t stream);

}  // namespace rnnfast::cuda
