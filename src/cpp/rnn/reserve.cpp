#include "rnn/reserve.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/carver.h"
#include "core/error.h"
#include "core/noise.h"
#include "cpu/dispatch.h"

namespace rnnfast {

WeightShapes NetworkSize::weight_shapes(Index i) const {
  return {known_cell(cell), layer_input(i / num_directions), hidden_size, proj_size};
}

template <class T>
Reserve<T>::Reserve(const NetworkSize& network_size, PackedBatch packed_batch,
                    const NetworkInput<T>& input)
    : size(network_size), packed(std::move(packed_batch)), packed_weights(input.packed != nullptr) {
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  const bool keeps_any = cell.info.saved() > 0 || cell.info.states > 1 || size.noise.zones();
  const bool cuts = size.training && size.recompute > 0 && keeps_any;
  for (Index direction = 0; direction < size.num_directions; ++direction)
    segments.emplace_back(packed, direction == 1, cuts ? size.recompute : size.seq_len,
                          cell.chunk_rows);
}

template <class T>
std::size_t Reserve<T>::bytes(const NetworkSize& size, PackedBatch packed,
                              const NetworkInput<T>& input, T* y) {
  Reserve reserve(size, std::move(packed), input);
  return std::size_t(reserve.carve(input, y, 1, nullptr)) * sizeof(T);
}

template <class T>
Reserve<T>::Reserve(const NetworkSize& network_size, PackedBatch packed_batch,
                    const NetworkInput<T>& input, T* y, Index layers_at_once,
                    std::optional<std::span<std::byte>> given)
    : Reserve(network_size, std::move(packed_batch), input) {
  const std::size_t needed = std::size_t(carve(input, y, layers_at_once, nullptr)) * sizeof(T);
  if (given) {
    RNNFAST_CHECK(given->size() == needed, "memory: expected ", needed,
                  " bytes, the size of the call's reserve, got ", given->size());
    RNNFAST_CHECK(needed == 0 || reinterpret_cast<std::uintptr_t>(given->data()) % 64 == 0,
                  "memory: expected its address to be a multiple of 64");
    RNNFAST_CHECK(!input.indices || packed.is_dense(),
                  "x: expected real numbers, as the sequences have different lengths, got indices");
  } else {
    memory = Buffer::allocate(needed);
  }
  carve(input, y, layers_at_once,
        given ? reinterpret_cast<T*>(given->data()) : memory.template as<T>());
  indices = input.indices;
  if (input.indices && !packed.is_dense()) {
    packed_indices = Buffer::allocate(std::size_t(packed.total()) * sizeof(Index));
    indices = packed_indices.template as<Index>();
  }
}

// In inference, layers take turns with two arrays of outputs, or with more if more layers are at
// work at the same time.
template <class T>
Index Reserve<T>::carve(const NetworkInput<T>& input, T* y, Index layers_at_once, T* base) {
  const Index width = size.y_size(), rows = packed.total();
  const bool dense = packed.is_dense();
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  Carver<T> arena{base};
  gates.assign(size.cells(), nullptr);
  states.assign(size.cells(), nullptr);
  made.assign(size.cells(), nullptr);
  checkpoints.assign(size.cells(), nullptr);
  outputs.assign(size.num_layers, nullptr);
  inputs.assign(size.num_layers, nullptr);
  for (Index i = 0; size.training && i < size.cells(); ++i) {
    const Index layer = i / size.num_directions, direction = i % size.num_directions;
    const Segments& parts = segments[direction];
    if (recomputes(direction)) {
      checkpoints[i] =
          arena.take((parts.size() - 1) * packed.episodes() * size.states_size(cell.info.states));
      continue;
    }
    const LayerReserve needs =
        cell.reserve(cell, layer_size(parts[0].rows, layer, direction, true, true));
    gates[i] = arena.take(needs.gates);
    states[i] = arena.take(needs.states);
    made[i] = arena.take(needs.made);
  }
  const Index arrays = size.training ? size.num_layers : std::max<Index>(2, layers_at_once);
  for (Index layer = 0; layer + 1 < size.num_layers; ++layer) {
    outputs[layer] = layer < arrays ? arena.take(rows * width) : outputs[layer - arrays];
    const bool drops = size.drops() || size.drops_inputs();
    inputs[layer + 1] = drops ? arena.take(rows * width) : outputs[layer];
  }
  outputs.back() = dense && !size.keep_y ? y : arena.take(rows * width);
  if (size.drops_inputs() || (input.x && !dense))
    inputs[0] = arena.take(rows * size.input_size);
  else
    inputs[0] = input.x;
  return arena.used;
}

template <class T>
LayerSize Reserve<T>::layer_size(const PackedRows& rows, Index layer, Index direction,
                                 bool training, bool needs_dx) const {
  const bool few =
      packed.total() < kDirectRows && packed.episodes() < kDirectRows && !size.proj_size;
  return {.rows = rows,
          .input_size = size.layer_input(layer),
          .hidden_size = size.hidden_size,
          .proj_size = size.proj_size,
          .reverse = direction == 1,
          .training = training,
          .needs_dx = needs_dx,
          .packed = packed_weights,
          .direct = few && !packed_weights && size.precision != Precision::int8,
          .noise = layer_noise(layer, direction)};
}

template <class T>
LayerNoise Reserve<T>::layer_noise(Index layer, Index direction) const {
  const NetworkNoise& options = size.noise;
  LayerNoise noise;
  std::copy(std::begin(options.zoneout), std::end(options.zoneout), noise.zoneout);
  noise.zones = options.zones();
  noise.expects = !size.draws_noise();
  if (!noise.expects) {
    noise.recurrent_dropout = options.recurrent_dropout;
    noise.candidate_dropout = options.candidate_dropout;
  }
  noise.seed = size.seed;
  noise.cell = noise_cell(layer, direction);
  return noise;
}

template <class T>
SegmentMemory Reserve<T>::segment_memory(bool backward, bool needs_dx, int threads) const {
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  SegmentMemory most;
  const auto raise = [](Index& to, Index value) { to = std::max(to, value); };
  for (Index direction = 0; direction < size.num_directions; ++direction) {
    const PackedRows rows = segments[direction].largest();
    const bool recomputing = backward && recomputes(direction);
    for (Index layer = 0; layer < size.num_layers; ++layer) {
      const LayerSize s =
          layer_size(rows, layer, direction, backward || keeps(direction), needs_dx || layer > 0);
      if (backward) raise(most.backward_workspace, cell.backward_workspace(cell, s, threads));
      if (backward && !recomputing) continue;
      raise(most.forward_workspace, cell.forward_workspace(cell, s, threads));
      if (!recomputing) continue;
      const LayerReserve reserve = cell.reserve(cell, s);
      raise(most.gates, reserve.gates);
      raise(most.states, reserve.states);
      raise(most.made, reserve.made);
    }
  }
  return most;
}

template <class T>
T* Reserve<T>::state_after(Index i, Index k, int s) const {
  const int count = kernels<T>(size.cell, size.precision).info.states;
  return checkpoints[i] + (k * size.states_size(count) + size.states_size(s)) * packed.episodes();
}

template struct Reserve<float>;
template struct Reserve<double>;

}  // namespace rnnfast
