#include "rnn/network.h"

#include <algorithm>

#include "core/carver.h"
#include "core/threads.h"
#include "cpu/dispatch.h"
#include "rnn/cell_run.h"
#include "rnn/episode_states.h"
#include "rnn/masks.h"
#include "rnn/sides.h"

namespace rnnfast {
namespace {

// Use one thread per kFlopsPerThread operations, or per kBytesPerThread of weights, because more
// cores have more bandwidth and cache. If threads meet at every step, each thread also needs
// kFlopsPerMeeting operations per step.
constexpr double kFlopsPerThread = 3e6;
constexpr double kBytesPerThread = 1 << 20;
constexpr double kFlopsPerMeeting = 25e3;

int at_most_all(double threads) { return int(std::clamp(threads, 1., double(num_threads()))); }

// The number of values in the weight matrices.
double weight_count(const NetworkSize& s) {
  double weights = 0;
  for (Index i = 0; i < s.cells(); ++i) {
    const WeightShapes shapes = s.weight_shapes(i);
    for (const WeightShape& shape : {shapes.weight_ih, shapes.weight_hh, shapes.weight_hr})
      weights += double(shape.count());
  }
  return weights;
}

}  // namespace

double network_work(const NetworkSize& size) {
  return weight_count(size) * double(size.seq_len) * double(size.batch);
}

template <class T>
int network_threads(const NetworkSize& s, Index rows, Index sequences, double passes) {
  const double weights = weight_count(s);
  const double work = std::max(2. * double(rows) * passes * weights / kFlopsPerThread,
                               passes * weights * sizeof(T) / kBytesPerThread);
  const double step = step_flops(s, sequences);
  if (step == 0) return at_most_all(work);  // without recurrent products threads never meet
  const double side = std::max(1., step / kFlopsPerMeeting);
  if (!side_by_side(s, sequences, 2)) return at_most_all(std::min(work, side));
  const int threads = at_most_all(std::min(work, 2 * side));
  return threads > 1 ? threads / 2 * 2 : 1;  // of equal halves
}

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
  const int threads = at_most_all(double(packed.memory.size()) / kBytesPerThread);
  parallel(threads, [&](const Team& team, int thread) {
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
    : reserve(size, std::move(packed), input, y, memory),
      input_(input),
      y_(y),
      final_(final),
      threads_(network_threads<T>(size, reserve.packed.total(), reserve.packed.episodes(), 1)) {
  const auto workspace_of = [&](int threads) {
    return reserve.segment_memory(false, false, threads).forward_workspace;
  };
  if (side_by_side(size, reserve.packed.episodes(), threads_))
    half_workspace_ = workspace_of(threads_ / 2);
  const Index values = std::max(workspace_of(threads_), 2 * half_workspace_);
  workspace_ = Buffer::allocate(std::size_t(values) * sizeof(T));
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
  const bool dense = packed.is_dense();
  parallel(threads_, [&](const Team& team, int thread) {
    if (!dense && input_.x)
      packed.pack(input_.x, size.input_size, const_cast<T*>(r.inputs[0]), thread, team.size);
    if (!dense && input_.indices)
      packed.pack(input_.indices, 1, r.packed_indices.template as<Index>(), thread, team.size);
    team.barrier();
    for (Index layer = 0; layer < size.num_layers; ++layer) {
      if (size.drops_inputs()) {
        T* to = const_cast<T*>(r.inputs[layer]);
        const T* from = layer == 0 ? input_.x : r.outputs[layer - 1];
        if (layer == 0 ? !dense && input_.x : size.drops()) from = to;
        drop_inputs(size, packed, layer, from, r.indices, to, thread, team.size);
        team.barrier();
      }
      for_directions(size, packed.episodes(), team, thread, [&](const Side& side) {
        T* workspace = workspace_.template as<T>() + side.number * half_workspace_;
        CellRun<T>{r, input_, initial, layer, side.direction, side.team, side.thread}.forward(
            final, workspace);
      });
      if (size.drops() && layer + 1 < size.num_layers) {
        drop_outputs(size, packed, layer, r.outputs[layer], const_cast<T*>(r.inputs[layer + 1]),
                     thread, team.size);
        team.barrier();
      }
    }
    if (r.outputs.back() != y_)
      packed.unpack(r.outputs.back(), size.y_size(), y_, thread, team.size);
  });
}

template <class T>
Reserve<T> network_forward(const NetworkSize& size, PackedBatch packed,
                           const NetworkInput<T>& input, T* y, const std::vector<T*>& final) {
  PreparedForward<T> forward(size, std::move(packed), input, y, final);
  forward.run();
  return std::move(forward.reserve);
}

#define INSTANTIATE(T)                                                                             \
  template int network_threads<T>(const NetworkSize&, Index, Index, double);                       \
  template class PreparedForward<T>;                                                               \
  template PackedWeights<T> network_pack(const NetworkSize&,                                       \
                                         const std::vector<CellWeights<const T>>&);                \
  template Reserve<T> network_forward(const NetworkSize&, PackedBatch, const NetworkInput<T>&, T*, \
                                      const std::vector<T*>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
