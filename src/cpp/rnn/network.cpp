#include "rnn/network.h"

#include <algorithm>
#include <array>

#include "core/carver.h"
#include "core/error.h"
#include "core/threads.h"
#include "cpu/dispatch.h"
#include "rnn/dropout.h"

namespace rnnfast {
namespace {

// A thread is worth waking for so many floating point operations; or for so many bytes of weights,
// as one core fetches less than two and its caches hold less; and threads that meet at every step
// only for so many operations in between.
constexpr double kFlopsPerThread = 3e6;
constexpr double kBytesPerThread = 1 << 20;
constexpr double kFlopsPerMeeting = 25e3;

// `passes`: how often the weights are multiplied.
template <class T>
int threads_for(const NetworkSize& s, Index rows, int gates, double passes) {
  double weights = 0;
  for (Index layer = 0; layer < s.num_layers; ++layer)
    weights += gates * double(s.hidden_size) *
               double(s.num_directions * (s.layer_input(layer) + s.hidden_size));
  const double work = std::max(2. * double(rows) * passes * weights / kFlopsPerThread,
                               passes * weights * sizeof(T) / kBytesPerThread);
  const double step = 2. * double(s.batch * s.hidden_size * s.hidden_size) * gates;
  const double most = std::min(work, step / kFlopsPerMeeting);
  return int(std::clamp(most, 1., double(num_threads())));
}

LayerSize layer_size(const NetworkSize& s, const PackedBatch& packed, Index layer, Index direction,
                     bool needs_dx) {
  return {packed.rows(), s.layer_input(layer), s.hidden_size, direction == 1, s.training, needs_dx};
}

// The most scratch that any layer's call needs.
template <class T>
Index workspace_size(const NetworkSize& s, const PackedBatch& batch, bool needs_dx, bool packed,
                     int threads, Index LayerMemory::* pass) {
  Index most = 0;
  for (Index layer = 0; layer < s.num_layers; ++layer) {
    LayerSize size = layer_size(s, batch, layer, 0, needs_dx || layer > 0);
    size.packed = packed;
    most = std::max(most, kernels<T>(s.cell).memory(size, threads).*pass);
  }
  return most;
}

bool drops(const NetworkSize& s) { return s.training && s.dropout > 0; }

// Lays the reserve out in `base`. Inference keeps the outputs of two layers, in turn.
template <class T>
std::size_t carve(Reserve<T>& r, const NetworkInput<T>& input, T* y, T* base) {
  const NetworkSize& s = r.size;
  const Index width = s.num_directions * s.hidden_size, rows = r.packed.total();
  const bool dense = r.packed.is_dense();
  Carver<T> arena{base};
  r.gates.assign(s.cells(), nullptr);
  r.states.assign(s.cells(), nullptr);
  r.outputs.assign(s.num_layers, nullptr);
  r.inputs.assign(s.num_layers, nullptr);
  if (s.training)
    for (Index i = 0; i < s.cells(); ++i) {
      const LayerMemory memory = kernels<T>(s.cell).memory(
          layer_size(s, r.packed, i / s.num_directions, i % s.num_directions, true), 1);
      r.gates[i] = arena.take(memory.gates);
      r.states[i] = arena.take(memory.states);
    }
  for (Index layer = 0; layer + 1 < s.num_layers; ++layer) {
    r.outputs[layer] = s.training || layer < 2 ? arena.take(rows * width) : r.outputs[layer - 2];
    r.inputs[layer + 1] = drops(s) ? arena.take(rows * width) : r.outputs[layer];
  }
  r.outputs.back() = dense ? y : arena.take(rows * width);
  if (input.x) r.inputs[0] = dense ? input.x : arena.take(rows * s.input_size);
  return std::size_t(arena.used) * sizeof(T);
}

// The part of one state's (cells, B, H) array that belongs to cell i.
template <class T>
T* state_of(T* states, const NetworkSize& s, Index i) {
  return states ? states + i * s.batch * s.hidden_size : nullptr;
}

std::uint64_t layer_seed(const NetworkSize& s, Index layer) {
  return s.seed + 0x632be59bd9b4e019u * static_cast<std::uint64_t>(layer);
}

template <class T>
void drop_outputs(const NetworkSize& s, const PackedBatch& packed, Index layer, const T* from,
                  T* to, int thread, int threads) {
  const Index count = packed.total() * s.num_directions * s.hidden_size;
  apply_dropout(from, count * thread / threads, count * (thread + 1) / threads, s.dropout,
                layer_seed(s, layer), to);
}

}  // namespace

template <class T>
PackedWeights<T> network_pack(const NetworkSize& size,
                              const std::vector<CellWeights<const T>>& weights) {
  const CellKernels<T>& cell = kernels<T>(size.cell);
  const PackedBatch none(0, 0, {});
  const auto lay_out = [&](T* base, std::vector<T*>& layers) {
    Carver<T> arena{base};
    for (Index i = 0; i < size.cells(); ++i)
      layers[i] = arena.take(
          cell.memory(layer_size(size, none, i / size.num_directions, 0, false), 1).packed);
    return std::size_t(arena.used) * sizeof(T);
  };
  PackedWeights<T> packed{{}, std::vector<T*>(size.cells())};
  packed.memory = Buffer::allocate(lay_out(nullptr, packed.layers));
  lay_out(packed.memory.template as<T>(), packed.layers);
  parallel(num_threads(), [&](const Team& team, int thread) {
    for (Index i = 0; i < size.cells(); ++i)
      cell.pack(weights[i], layer_size(size, none, i / size.num_directions, 0, false), team, thread,
                packed.layers[i]);
  });
  return packed;
}

template <class T>
Reserve<T> network_forward(const NetworkSize& size, PackedBatch packed_batch,
                           const NetworkInput<T>& input, T* y, const std::vector<T*>& final) {
  const CellKernels<T>& cell = kernels<T>(size.cell);
  Reserve<T> r{size, std::move(packed_batch), {}, {}, {}, {}, {}, nullptr, {}};
  r.memory = Buffer::allocate(carve<T>(r, input, y, nullptr));
  carve(r, input, y, r.memory.template as<T>());
  const PackedBatch& packed = r.packed;
  const bool dense = packed.is_dense();
  Index* packed_indices = nullptr;
  if (input.indices && !dense) {
    r.packed_indices = Buffer::allocate(std::size_t(packed.total()) * sizeof(Index));
    packed_indices = r.packed_indices.template as<Index>();
  }
  r.indices = packed_indices ? packed_indices : input.indices;

  const int threads = threads_for<T>(size, packed.total(), cell.info.gates, 1);
  const Buffer workspace = Buffer::allocate(
      sizeof(T) * std::size_t(workspace_size<T>(size, packed, false, input.packed != nullptr,
                                                threads, &LayerMemory::forward_workspace)));
  parallel(threads, [&](const Team& team, int thread) {
    if (!dense && input.x)
      packed.pack(input.x, size.input_size, const_cast<T*>(r.inputs[0]), thread, team.size);
    if (packed_indices) packed.pack(input.indices, 1, packed_indices, thread, team.size);
    team.barrier();
    for (Index layer = 0; layer < size.num_layers; ++layer) {
      for (Index direction = 0; direction < size.num_directions; ++direction) {
        const Index i = layer * size.num_directions + direction;
        ForwardArgs<T> args{};
        args.size = layer_size(size, packed, layer, direction, false);
        args.size.packed = input.packed != nullptr;
        if (input.packed)
          args.packed = input.packed->layers[i];
        else
          args.weights = input.weights[i];
        args.x = r.inputs[layer];
        args.indices = layer ? nullptr : r.indices;
        args.x_stride = args.size.input_size;
        args.y = r.outputs[layer] + direction * size.hidden_size;
        args.y_stride = size.num_directions * size.hidden_size;
        for (int s = 0; s < cell.info.states; ++s) {
          args.initial[s] = state_of(input.initial[s], size, i);
          args.final[s] = state_of(final[s], size, i);
        }
        args.gates = r.gates[i];
        args.states = r.states[i];
        args.workspace = workspace.as<T>();
        cell.forward(args, team, thread);
        team.barrier();
      }
      if (drops(size) && layer + 1 < size.num_layers) {
        drop_outputs(size, packed, layer, r.outputs[layer], const_cast<T*>(r.inputs[layer + 1]),
                     thread, team.size);
        team.barrier();
      }
    }
    if (!dense)
      packed.unpack(r.outputs.back(), size.num_directions * size.hidden_size, y, thread, team.size);
  });
  return r;
}

template <class T>
void network_backward(const Reserve<T>& r, const NetworkInput<T>& input, const T* dy,
                      const std::vector<const T*>& dfinal, T* dx, const std::vector<T*>& dinitial,
                      const std::vector<CellWeights<T>>& dweights) {
  const NetworkSize& size = r.size;
  const CellKernels<T>& cell = kernels<T>(size.cell);
  const PackedBatch& packed = r.packed;
  const bool dense = packed.is_dense();
  const Index width = size.num_directions * size.hidden_size, rows = packed.total();
  const int threads = threads_for<T>(size, rows, cell.info.gates, 2);

  // Gradients of the layers' outputs, in turn, then dy and dx as packed rows.
  const bool packs_dy = dy && !dense, packs_dx = dx && !dense;
  const auto lay_out = [&](T* base, std::array<T*, 5>& to) {
    Carver<T> arena{base};
    to[0] = arena.take(size.num_layers > 1 ? rows * width : 0);
    to[1] = arena.take(size.num_layers > 2 ? rows * width : 0);
    to[2] = arena.take(packs_dy ? rows * width : 0);
    to[3] = arena.take(packs_dx ? rows * size.input_size : 0);
    to[4] = arena.take(workspace_size<T>(size, packed, dx != nullptr, false, threads,
                                         &LayerMemory::backward_workspace));
    return std::size_t(arena.used) * sizeof(T);
  };
  std::array<T*, 5> piece{};
  const Buffer memory = Buffer::allocate(lay_out(nullptr, piece));
  lay_out(memory.as<T>(), piece);
  const auto [even, odd, packed_dy, packed_dx, workspace] = piece;

  parallel(threads, [&, even = even, odd = odd, packed_dy = packed_dy, packed_dx = packed_dx,
                     workspace = workspace](const Team& team, int thread) {
    if (packs_dy) packed.pack(dy, width, packed_dy, thread, team.size);
    team.barrier();
    const T* dlayer = packs_dy ? packed_dy : dy;
    for (Index layer = size.num_layers - 1; layer >= 0; --layer) {
      T* dinput = layer == 0 ? (packs_dx ? packed_dx : dx) : layer % 2 ? even : odd;
      for (Index direction = 0; direction < size.num_directions; ++direction) {
        const Index i = layer * size.num_directions + direction;
        BackwardArgs<T> args{};
        args.size = layer_size(size, packed, layer, direction, dinput != nullptr);
        args.weights = input.weights[i];
        args.x = r.inputs[layer];
        args.indices = layer ? nullptr : r.indices;
        args.x_stride = args.dx_stride = args.size.input_size;
        args.y = r.outputs[layer] + direction * size.hidden_size;
        args.y_stride = width;
        for (int s = 0; s < cell.info.states; ++s) {
          args.initial[s] = state_of(input.initial[s], size, i);
          args.dfinal[s] = state_of(dfinal[s], size, i);
          args.dinitial[s] = state_of(dinitial[s], size, i);
        }
        args.gates = r.gates[i];
        args.states = r.states[i];
        args.dy = dlayer ? dlayer + direction * size.hidden_size : nullptr;
        args.workspace = workspace;
        args.dx = dinput;
        args.add_dx = direction > 0;
        args.dweights = dweights[i];
        cell.backward(args, team, thread);
        team.barrier();
      }
      if (layer > 0 && drops(size)) {
        drop_outputs(size, packed, layer - 1, dinput, dinput, thread, team.size);
        team.barrier();
      }
      dlayer = dinput;
    }
    if (packs_dx) packed.unpack(packed_dx, size.input_size, dx, thread, team.size);
  });
}

#define INSTANTIATE(T)                                                                             \
  template PackedWeights<T> network_pack(const NetworkSize&,                                       \
                                         const std::vector<CellWeights<const T>>&);                \
  template Reserve<T> network_forward(const NetworkSize&, PackedBatch, const NetworkInput<T>&, T*, \
                                      const std::vector<T*>&);                                     \
  template void network_backward(const Reserve<T>&, const NetworkInput<T>&, const T*,              \
                                 const std::vector<const T*>&, T*, const std::vector<T*>&,         \
                                 const std::vector<CellWeights<T>>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
