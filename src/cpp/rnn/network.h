#pragma once
// Stacked layers and directions over the kernels of one cell: sizes, memory and the order of calls.
// A whole forward or backward pass is one parallel region.

#include <cstdint>
#include <vector>

#include "core/memory.h"
#include "cpu/kernel_table.h"
#include "rnn/packed_batch.h"

namespace rnnfast {

struct NetworkSize {
  int cell;  // place in the registry
  Index seq_len, batch, input_size, hidden_size;
  Index num_layers, num_directions;
  double dropout;      // on the outputs of all layers but the last
  std::uint64_t seed;  // of the dropout masks
  bool training;

  Index cells() const { return num_layers * num_directions; }
  Index layer_input(Index layer) const { return layer ? num_directions * hidden_size : input_size; }
};

// What forward keeps for backward: for each layer and direction the saved gates and the states
// beyond h, then the outputs of the layers but the last (twice with dropout), then, for unequal
// lengths, x and y as packed rows. Empty if not training.
template <class T>
struct Reserve {
  NetworkSize size;
  PackedBatch packed;
  Buffer memory;
  std::vector<T*> gates, states;   // of each layer and direction
  std::vector<T*> outputs;         // of each layer, packed; the last is the caller's y if dense
  std::vector<const T*> inputs;    // of each layer, packed; the first is the caller's x if dense
  const Index* indices = nullptr;  // packed; the caller's if dense
  Buffer packed_indices;
};

// Weights of each layer and direction in the form that the forward kernels read: a copy, made once
// for many calls.
template <class T>
struct PackedWeights {
  Buffer memory;
  std::vector<T*> layers;  // of each layer and direction
};

// The caller's arrays. Each pointer of `initial`, `final` and so on is a (cells, B, H) array.
template <class T>
struct NetworkInput {
  const T* x;                                 // (T, B, I), or null
  const Index* indices;                       // (T, B) in [0, I), where x is null
  std::vector<CellWeights<const T>> weights;  // of each layer and direction, or else:
  const PackedWeights<T>* packed;
  std::vector<const T*> initial;  // of each state; null for zeros
};

// Of `size` the cell, layers, directions, input and hidden size count.
template <class T>
PackedWeights<T> network_pack(const NetworkSize& size,
                              const std::vector<CellWeights<const T>>& weights);

// Writes y (T, B, D * H) and the final states. Returns what backward needs.
template <class T>
Reserve<T> network_forward(const NetworkSize& size, PackedBatch packed,
                           const NetworkInput<T>& input, T* y, const std::vector<T*>& final);

// Takes dy (null for zeros) and the gradients of the final states (null for zeros); writes dx (null
// if not wanted), those of the initial states and of the weights. `input` and y are forward's.
template <class T>
void network_backward(const Reserve<T>& reserve, const NetworkInput<T>& input, const T* dy,
                      const std::vector<const T*>& dfinal, T* dx, const std::vector<T*>& dinitial,
                      const std::vector<CellWeights<T>>& dweights);

}  // namespace rnnfast
