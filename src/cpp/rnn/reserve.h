#pragma once
// What forward keeps for backward, and the sizes that it follows from.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/memory.h"
#include "rnn/options.h"
#include "rnn/segments.h"
#include "rnn/weight_shapes.h"

namespace rnnfast {

struct NetworkSize : NetworkOptions {
  Index seq_len = 0, batch = 0, input_size = 0, hidden_size = 0;
  std::uint64_t seed = 0;  // of dropout and noise

  Index layer_input(Index layer) const { return layer ? num_directions * hidden_size : input_size; }
  // Of the weights of layer and direction i.
  WeightShapes weight_shapes(Index i) const;
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

// The part of one state's (cells, B, H) array that belongs to cell i.
template <class T>
T* state_of(T* states, const NetworkSize& s, Index i) {
  return states ? states + i * s.batch * s.hidden_size : nullptr;
}

// Values of T that one call of the kernels needs.
struct SegmentMemory {
  Index gates = 0, states = 0, made = 0;  // to make a segment's reserve again
  Index forward_workspace = 0, backward_workspace = 0;
};

// For each layer and direction the saved gates and the states beyond h (with zoneout also all
// states as the cell made them) or, where backward makes them again, all states between the
// segments. Then the outputs of the layers but the last (twice with dropout) and, for unequal
// lengths, x and y as packed rows; x also with dropout of the inputs, and y where it is to be kept.
// Without training only what layers hand on.
template <class T>
struct Reserve {
  // Lays the memory out; `y` and `input` are the caller's. `filled` is the memory of a reserve of
  // the same sizes and stays the caller's, too; without it there is fresh memory to fill.
  Reserve(const NetworkSize& size, PackedBatch packed, const NetworkInput<T>& input, T* y,
          std::optional<std::span<std::byte>> filled = std::nullopt);

  bool recomputes(Index direction) const { return segments[direction].size() > 1; }
  LayerSize layer_size(const PackedRows& rows, Index layer, Index direction, bool training,
                       bool needs_dx) const;
  // Whether forward's calls for a direction fill gates and states.
  bool keeps(Index direction) const { return size.training && !recomputes(direction); }
  // The most that one segment of any layer and direction needs of each kind: in the forward pass or
  // in backward, which may make gates again.
  SegmentMemory segment_memory(bool backward, bool needs_dx, int threads) const;
  // State s of cell i, (B, H), after segment k of its direction, which is not the last.
  T* state_after(Index i, Index k, int s) const;

  NetworkSize size;
  PackedBatch packed;
  bool packed_weights;
  std::vector<Segments> segments;  // of each direction
  Buffer memory;                   // none of its own where it was filled before
  // Of each layer and direction; null where made again.
  std::vector<T*> gates, states, made;
  std::vector<T*> checkpoints;     // [segment][state][B, H] where made again
  std::vector<T*> outputs;         // of each layer, packed; the last is the caller's y if shared
  std::vector<const T*> inputs;    // of each layer, packed; the first is the caller's x if dense
  const Index* indices = nullptr;  // packed; the caller's if dense
  Buffer packed_indices;

 private:
  Index carve(const NetworkInput<T>& input, T* y, T* base);  // returns the values used
  LayerNoise layer_noise(Index layer, Index direction) const;
};

}  // namespace rnnfast
