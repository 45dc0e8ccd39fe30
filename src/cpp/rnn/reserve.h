#pragma once
// The memory that forward keeps for backward, and the sizes that determine it.

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
  Index proj_size = 0;           // P; 0: h is not projected
  std::uint64_t seed = 0;        // of dropout and noise
  bool has_reset_state = false;  // whether the initial states have a row for what resets set

  Index initial_rows() const { return batch + has_reset_state; }  // of the initial states

  // The width R of h, and the width of any state.
  Index h_size() const { return proj_size ? proj_size : hidden_size; }
  Index state_size(int state) const { return state ? hidden_size : h_size(); }
  // The total width of the first `states` states.
  Index states_size(int states) const { return states ? h_size() + (states - 1) * hidden_size : 0; }
  Index y_size() const { return num_directions * h_size(); }  // width of a layer's outputs
  Index layer_input(Index layer) const { return layer ? y_size() : input_size; }
  // The shapes of the weights of layer and direction i.
  WeightShapes weight_shapes(Index i) const;
};

// A copy of the weights of each layer and direction in the form that the forward kernels read, made
// once for many calls.
template <class T>
struct PackedWeights {
  Buffer memory;
  std::vector<T*> layers;  // of each layer and direction
};

// What a context adds to the gates of each layer and direction, or its gradient.
template <class T>
struct NetworkContext {
  std::vector<T*> gates;  // (B, input_gates * H) each, or (T, B, input_gates * H); empty for none
  bool by_step;           // whether each step has a row

  ContextGates<T> of(Index i, Index batch) const {
    return {gates.empty() ? nullptr : gates[i], by_step ? batch : 0};
  }
};

// The caller's arrays. Each state's array is (cells, B, H), or (cells, B, R) for h; a row more if
// `has_reset_state`.
template <class T>
struct NetworkInput {
  const T* x;                                 // (T, B, I), or null
  const Index* indices;                       // (T, B) in [0, I), where x is null
  std::vector<CellWeights<const T>> weights;  // of each layer and direction, or else packed:
  const PackedWeights<T>* packed;
  std::vector<const T*> initial;  // of each state; null for zeros
  NetworkContext<const T> context;
};

// Cell i's part of an array of state number `state` that has `rows` rows for each cell.
template <class T>
T* state_of(T* array, int state, const NetworkSize& s, Index rows, Index i) {
  return array ? array + i * rows * s.state_size(state) : nullptr;
}

// Sizes in values of T that one call of the kernels needs.
struct SegmentMemory {
  Index gates = 0, states = 0, made = 0;  // to recompute a segment's reserve
  Index forward_workspace = 0, backward_workspace = 0;
};

// For each layer and direction, the reserve holds the saved gates and the states beyond h (with
// zoneout also all states as the cell computed them) or, if backward recomputes them, all states
// between segments. Then come the outputs of all layers but the last (twice with dropout), x as
// packed rows (for unequal lengths) or with input dropout, and y as packed rows or if it is to be
// kept. Without training it holds only what layers pass on.
template <class T>
struct Reserve {
  // Lays out the memory, for up to `layers_at_once` layers at work at the same time. `y` and
  // `input` belong to the caller. So does `given`, memory to fill, or that of an earlier reserve of
  // the same sizes; without it, new memory is allocated.
  Reserve(const NetworkSize& size, PackedBatch packed, const NetworkInput<T>& input, T* y,
          Index layers_at_once, std::optional<std::span<std::byte>> given = std::nullopt);
  // The bytes that it takes in training. Sequences that are shorter than `packed` says never take
  // more, unless `packed` is dense and they are not.
  static std::size_t bytes(const NetworkSize& size, PackedBatch packed,
                           const NetworkInput<T>& input, T* y);

  bool recomputes(Index direction) const { return segments[direction].size() > 1; }
  LayerSize layer_size(const PackedRows& rows, Index layer, Index direction, bool training,
                       bool needs_dx) const;
  // Whether forward fills the gates and states of a direction.
  bool keeps(Index direction) const { return size.training && !recomputes(direction); }
  // The most memory of each kind that one segment of any layer and direction needs, in the forward
  // pass or in backward, which may recompute gates.
  SegmentMemory segment_memory(bool backward, bool needs_dx, int threads) const;
  // State s of cell i, (E, its size), after segment k of its direction, which must not be the last.
  T* state_after(Index i, Index k, int s) const;

  NetworkSize size;
  PackedBatch packed;
  bool packed_weights;
  std::vector<Segments> segments;  // of each direction
  Buffer memory;                   // empty if the caller's memory is used
  // Of each layer and direction; null if recomputed.
  std::vector<T*> gates, states, made;
  std::vector<T*> checkpoints;     // [segment][state][E, its size], if recomputed
  std::vector<T*> outputs;         // of each layer, packed; the last may be the caller's y
  std::vector<const T*> inputs;    // of each layer, packed; the first may be the caller's x
  const Index* indices = nullptr;  // packed; the caller's if dense
  Buffer packed_indices;

 private:
  // Without memory.
  Reserve(const NetworkSize& size, PackedBatch packed, const NetworkInput<T>& input);
  // Returns the values used.
  Index carve(const NetworkInput<T>& input, T* y, Index layers_at_once, T* base);
  LayerNoise layer_noise(Index layer, Index direction) const;
};

}  // namespace rnnfast
