#include "rnn/network.h"

#include <algorithm>
#include <optional>

#include "core/carver.h"
#include "core/threads.h"
#include "cpu/dispatch.h"
#include "rnn/cell_run.h"
#include "rnn/episode_states.h"
#include "rnn/masks.h"
#include "rnn/wave.h"

namespace rnnfast {
template <class T>
PackedWeights<T> network_pack(const NetworkSize& size,
                              const std::vector<CellWeights<const T>>& weights) {
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  const Index offset = 0;
  const auto layer_size = [&](Index i) {
    LayerSize s{};
    s.rows = {.steps = 0,
              .batch = 0,
              .offset = &offset,
              .order = nullptr,
              .sequence = nullptr,
              .start = nullptr,
              .first_step = 0};
    s.input_size = size.layer_input(i / size.num_directions);
    s.hidden_size = size.hidden_size;
    s.proj_size = size.proj_size;
    return s;
  };
  const auto lay_out = [&](T* base, std::vector<T*>& layers) {
    Carver<T> arena{base};
    for (Index i = 0; i < size.cells(); ++i)
      layers[i] = arena.take(cell.packed(cell, layer_size(i)));
    return std::size_t(arena.used) * sizeof(T);
  };
  PackedWeights<T> packed{{}, std::vector<T*>(size.cells())};
  packed.memory = Buffer::allocate(lay_out(nullptr, packed.layers));
  lay_out(packed.memory.template as<T>(), packed.layers);
  parallel(packing_threads(packed.memory.size()), [&](const Team& team, int thread) {
    for (Index i = 0; i < size.cells(); ++i)
      cell.pack(cell, weights[i], layer_size(i), team, thread, packed.layers[i]);
  });
  return packed;
}

template <class T>
PreparedForward<T>::PreparedForward(const NetworkSize& size, PackedBatch packed,
                                    const NetworkInput<T>& input, T* y,
                                    const std::vector<T*>& final,
                                    std::optional<std::span<std::byte>> memory)
    : groups(network_groups<T>(size, packed.total(), packed.episodes(), 1)),
      reserve(size, std::move(packed), input, y, groups.count, memory),
      input_(input),
      y_(y),
      final_(final) {
  const auto workspace_of = [&](int threads) {
    return reserve.segment_memory(false, false, threads).forward_workspace;
  };
  if (groups.count > 1) group_workspace_ = workspace_of(groups.size());
  const Index values = std::max(workspace_of(groups.threads), groups.count * group_workspace_);
  const Index masks = input_mask_memory(size, groups.threads);
  workspace_ = Buffer::allocate(std::size_t(values + masks) * sizeof(T));
  masks_ = workspace_.template as<T>() + values;
}

template <class T>
void PreparedForward<T>::run() const {
  const NetworkSize& size = reserve.size;
  const PackedBatch& packed = reserve.packed;
  if (!copies_states(size, packed)) return run(input_.initial, final_);
  const EpisodeStates<const T> initial = initial_states(size, packed, input_.initial);
  const EpisodeStates<T> final = new_states<T>(size, packed);
  run(initial.arrays, final.arrays);
  store_final(size, packed, final, final_);
}

template <class T>
void PreparedForward<T>::run(const std::vector<const T*>& initial,
                             const std::vector<T*>& final) const {
  const Reserve<T>& r = reserve;
  const NetworkSize& size = r.size;
  const PackedBatch& packed = r.packed;
  const auto run_cell = [&](Index layer, const Side& side, const Flow* flow) {
    T* workspace = workspace_.template as<T>() + side.group * group_workspace_;
    CellRun<T>{r, input_, initial, layer, side.direction, side.team, side.thread, flow}.forward(
        final, workspace);
  };
  const auto drop = [&](Index layer, StepRange steps, const Team& team, int thread) {
    if (!size.drops() || layer + 1 == size.num_layers) return;
    drop_outputs(size, packed, layer, steps, r.outputs[layer], const_cast<T*>(r.inputs[layer + 1]),
                 thread, team.size);
    team.barrier();
  };
  std::optional<Wave> wave;
  if (groups.in_wave(size)) wave.emplace(size.num_layers, packed.steps(), false, groups);
  parallel(groups.threads, [&](const Team& team, int thread) {
    pack_input(team, thread);
    const int count = groups.of(team);
    if (wave && count > 1) {
      wave->run(team, thread, run_cell, drop);
    } else {
      for (Index layer = 0; layer < size.num_layers; ++layer) {
        drop_input(layer, team, thread);
        for_directions(size.num_directions, count, team, thread,
                       [&](const Side& side) { run_cell(layer, side, nullptr); });
        drop(layer, {0, packed.steps()}, team, thread);
      }
    }
    if (r.outputs.back() != y_)
      packed.unpack(r.outputs.back(), size.y_size(), y_, thread, team.size);
  });
}

// Packs x as rows, unless it is dense.
template <class T>
void PreparedForward<T>::pack_input(const Team& team, int thread) const {
  const Reserve<T>& r = reserve;
  if (!r.packed.is_dense() && input_.x)
    r.packed.pack(input_.x, r.size.input_size, const_cast<T*>(r.inputs[0]), thread, team.size);
  if (!r.packed.is_dense() && input_.indices)
    r.packed.pack(input_.indices, 1, r.packed_indices.template as<Index>(), thread, team.size);
  team.barrier();
}

// Multiplies a layer's inputs by the mask that all steps share, if there is one.
template <class T>
void PreparedForward<T>::drop_input(Index layer, const Team& team, int thread) const {
  const Reserve<T>& r = reserve;
  if (!r.size.drops_inputs()) return;
  T* to = const_cast<T*>(r.inputs[layer]);
  const T* from = layer == 0 ? input_.x : r.outputs[layer - 1];
  if (layer == 0 ? !r.packed.is_dense() && input_.x : r.size.drops()) from = to;
  drop_inputs(r.size, r.packed, layer, from, r.indices, to, masks_, thread, team.size);
  team.barrier();
}

template <class T>
Reserve<T> network_forward(const NetworkSize& size, PackedBatch packed,
                           const NetworkInput<T>& input, T* y, const std::vector<T*>& final) {
  PreparedForward<T> forward(size, std::move(packed), input, y, final);
  forward.run();
  return std::move(forward.reserve);
}

#define INSTANTIATE(T)                                                                             \
  template class PreparedForward<T>;                                                               \
  template PackedWeights<T> network_pack(const NetworkSize&,                                       \
                                         const std::vector<CellWeights<const T>>&);                \
  template Reserve<T> network_forward(const NetworkSize&, PackedBatch, const NetworkInput<T>&, T*, \
                                      const std::vector<T*>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
