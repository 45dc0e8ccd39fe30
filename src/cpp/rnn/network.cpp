#include "rnn/network.h"

#include <algorithm>

#include "core/carver.h"
#include "core/threads.h"
#include "cpu/dispatch.h"
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

// One layer and direction of a network, which runs its steps a segment at a time.
template <class T>
struct CellRun {
  const Reserve<T>& reserve;
  const NetworkInput<T>& input;
  const std::vector<const T*>& initial;  // of the episodes
  Index layer, direction;
  const Team& team;
  int thread;

  const NetworkSize& size() const { return reserve.size; }
  const CellKernels<T>& cell() const { return kernels<T>(size().cell, size().precision); }
  Index number() const { return layer * size().num_directions + direction; }
  const Segments& segments() const { return reserve.segments[direction]; }
  ContextGates<const T> context() const { return input.context.of(number(), size().batch); }
  // This layer and direction's part of an array of the episodes' states.
  template <class V>
  V* part_of(V* array, int s) const {
    return state_of(array, s, size(), reserve.packed.episodes(), number());
  }

  // Sets the arguments that forward and backward of segment k share.
  template <class Args>
  void set_inputs(Args& args, Index k, bool training, bool needs_dx) const {
    const Segment& segment = segments()[k];
    const Index i = number();
    args.size = reserve.layer_size(segment.rows, layer, direction, training, needs_dx);
    if (!input.packed) args.weights = input.weights[i];
    args.x_stride = args.size.input_size;
    if (layer == 0 && reserve.indices && !size().drops_inputs())
      args.indices = reserve.indices + segment.row;
    else
      args.x = reserve.inputs[layer] + segment.row * args.x_stride;
    args.y_stride = size().y_size();
    args.y = at_segment(reserve.outputs[layer], k);
    for (int s = 0; s < cell().info.states; ++s)
      args.initial[s] = k ? reserve.state_after(i, k - 1, s) : part_of(initial[s], s);
  }

  // This direction's columns of an array of outputs or of their gradients, from segment k on.
  template <class V>
  V* at_segment(V* outputs, Index k) const {
    return outputs + segments()[k].row * size().y_size() + direction * size().h_size();
  }

  void forward(const std::vector<T*>& final, T* workspace) const {
    const Index i = number(), count = segments().size();
    for (Index k = 0; k < count; ++k) {
      ForwardArgs<T> args{};
      set_inputs(args, k, reserve.keeps(direction), false);
      args.part = {k == 0, k == count - 1};
      if (input.packed) args.packed = input.packed->layers[i];
      for (int s = 0; s < cell().info.states; ++s)
        args.final[s] = args.part.last ? part_of(final[s], s) : reserve.state_after(i, k, s);
      args.context = context();
      args.gates = reserve.gates[i];
      args.states = reserve.states[i];
      args.made = reserve.made[i];
      args.workspace = workspace;
      cell().forward(cell(), args, team, thread);
      team.barrier();
    }
  }
};

// The scratch of one direction's backward pass on `threads` threads.
template <class T>
struct CellScratch {
  T* workspace;
  T *gates, *states, *made, *forward_workspace;  // to recompute a segment's gates

  CellScratch(const Reserve<T>& r, bool needs_dx, int threads, T* base) {
    const SegmentMemory segment = r.segment_memory(true, needs_dx, threads);
    Carver<T> arena{base};
    workspace = arena.take(segment.backward_workspace);
    gates = arena.take(segment.gates);
    states = arena.take(segment.states);
    made = arena.take(segment.made);
    forward_workspace = arena.take(segment.forward_workspace);
    used = arena.used;
  }
  Index used;
};

// The memory of a backward pass.
template <class T>
struct BackwardMemory {
  T *even, *odd;             // gradients of the layers' outputs, which alternate
  T *packed_dy, *packed_dx;  // dy and dx as packed rows
  T* side_dx;                // of direction 1 where it runs beside direction 0
  T* scratch;

  BackwardMemory(const Reserve<T>& r, bool packs_dy, bool packs_dx, bool needs_dx, int threads,
                 T* base) {
    const NetworkSize& s = r.size;
    const Index width = s.y_size(), rows = r.packed.total();
    const Index widest = std::max(needs_dx ? s.input_size : 0, s.num_layers > 1 ? width : 0);
    Carver<T> arena{base};
    even = arena.take(s.num_layers > 1 ? rows * width : 0);
    odd = arena.take(s.num_layers > 2 ? rows * width : 0);
    packed_dy = arena.take(packs_dy ? rows * width : 0);
    packed_dx = arena.take(packs_dx ? rows * s.input_size : 0);
    side_dx = arena.take(side_by_side(s, r.packed.episodes(), threads) ? rows * widest : 0);
    scratch = arena.take(size_of_sides(s, r.packed.episodes(), threads, [&](int n) {
      return CellScratch<T>(r, needs_dx, n, nullptr).used;
    }));
    used = arena.used;
  }
  Index used;
};

// to += from, for a thread's share of some values.
template <class T>
void add_share(const T* from, Index count, T* to, int thread, int threads) {
  for (Index i = count * thread / threads; i < count * (thread + 1) / threads; ++i)
    to[i] += from[i];
}

template <class T>
struct CellGradient {
  const T* dy;  // of the layer's outputs; null for zeros
  const std::vector<const T*>& dfinal;
  T* dx;  // of the layer's inputs; null if not wanted
  bool add_dx;
  const std::vector<T*>& dinitial;
  const CellWeights<T>& dweights;
  bool add_dweights;
  ContextGates<T> dcontext;
};

// Recomputes the gates and states of segment k.
template <class T>
void recompute(const CellRun<T>& run, Index k, const CellScratch<T>& scratch) {
  ForwardArgs<T> args{};
  run.set_inputs(args, k, true, false);
  args.part.first = k == run.segments().size() - 1;
  args.recomputing = true;
  args.context = run.context();
  args.gates = scratch.gates;
  args.states = scratch.states;
  args.made = scratch.made;
  args.workspace = scratch.forward_workspace;
  run.cell().forward(run.cell(), args, run.team, run.thread);
  run.team.barrier();
}

template <class T>
void backward(const CellRun<T>& run, const CellGradient<T>& gradient,
              const CellScratch<T>& scratch) {
  const Reserve<T>& r = run.reserve;
  const Index i = run.number(), count = run.segments().size();
  const bool recomputing = r.recomputes(run.direction);
  for (Index k = count - 1; k >= 0; --k) {
    if (recomputing) recompute(run, k, scratch);
    BackwardArgs<T> args{};
    run.set_inputs(args, k, true, gradient.dx != nullptr);
    args.part = {k == count - 1, k == 0};
    args.gates = recomputing ? scratch.gates : r.gates[i];
    args.states = recomputing ? scratch.states : r.states[i];
    args.made = recomputing ? scratch.made : r.made[i];
    if (gradient.dy) args.dy = run.at_segment(gradient.dy, k);
    for (int s = 0; s < run.cell().info.states; ++s) {
      // Between segments, dinitial holds the gradients of the states.
      args.dinitial[s] = run.part_of(gradient.dinitial[s], s);
      args.dfinal[s] = args.part.first ? run.part_of(gradient.dfinal[s], s) : args.dinitial[s];
    }
    args.workspace = scratch.workspace;
    args.dx_stride = args.size.input_size;
    if (gradient.dx) args.dx = gradient.dx + run.segments()[k].row * args.dx_stride;
    args.add_dx = gradient.add_dx;
    args.dweights = gradient.dweights;
    args.add_dweights = gradient.add_dweights;
    args.dcontext = gradient.dcontext;
    run.cell().backward(run.cell(), args, run.team, run.thread);
    run.team.barrier();
  }
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
                                    const std::vector<T*>& final)
    : reserve(size, std::move(packed), input, y),
      input_(input),
      y_(y),
      final_(final),
      threads_(network_threads<T>(size, reserve.packed.total(), reserve.packed.episodes(), 1)) {
  const Index values = size_of_sides(size, reserve.packed.episodes(), threads_,
                                     [&](int n) { return workspace_of(n); });
  workspace_ = Buffer::allocate(std::size_t(values) * sizeof(T));
}

template <class T>
Index PreparedForward<T>::workspace_of(int threads) const {
  return reserve.segment_memory(false, false, threads).forward_workspace;
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
        T* workspace = workspace_.template as<T>();
        if (side.number) workspace += workspace_of(side.team.size);
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

template <class T>
void network_backward(const Reserve<T>& r, const NetworkInput<T>& input, const T* dy,
                      const std::vector<const T*>& dfinal, T* dx, const std::vector<T*>& dinitial,
                      const std::vector<CellWeights<T>>& dweights, bool add_dweights,
                      const NetworkContext<T>& dcontext) {
  const NetworkSize& size = r.size;
  const PackedBatch& packed = r.packed;
  const Index width = size.y_size();
  const int threads = network_threads<T>(size, packed.total(), packed.episodes(), 2);
  const bool packs_dy = dy && !packed.is_dense(), packs_dx = dx && !packed.is_dense();
  const auto lay_out = [&](T* base) {
    return BackwardMemory<T>(r, packs_dy, packs_dx, dx != nullptr, threads, base);
  };
  const Buffer buffer = Buffer::allocate(std::size_t(lay_out(nullptr).used) * sizeof(T));
  const BackwardMemory<T> memory = lay_out(buffer.as<T>());
  const bool copies = copies_states(size, packed);
  EpisodeStates<const T> copied_initial, copied_dfinal;
  EpisodeStates<T> made;
  if (copies) {
    copied_initial = initial_states(size, packed, input.initial);
    copied_dfinal = final_gradients(size, packed, dfinal);
    made = new_states<T>(size, packed);
  }
  const std::vector<const T*>& initial = copies ? copied_initial.arrays : input.initial;

  parallel(threads, [&](const Team& team, int thread) {
    if (packs_dy) packed.pack(dy, width, memory.packed_dy, thread, team.size);
    team.barrier();
    const T* dlayer = packs_dy ? memory.packed_dy : dy;
    for (Index layer = size.num_layers - 1; layer >= 0; --layer) {
      T* dinput = layer % 2 ? memory.even : memory.odd;
      if (layer == 0) dinput = packs_dx ? memory.packed_dx : dx;
      for_directions(size, packed.episodes(), team, thread, [&](const Side& side) {
        const CellRun<T> run{r, input, initial, layer, side.direction, side.team, side.thread};
        CellScratch<T> scratch(r, dx != nullptr, side.team.size, memory.scratch);
        if (side.number)
          scratch = {r, dx != nullptr, side.team.size, memory.scratch + scratch.used};
        backward(run,
                 {dlayer, copies ? copied_dfinal.arrays : dfinal,
                  side.number && dinput ? memory.side_dx : dinput, side.direction > side.number,
                  copies ? made.arrays : dinitial, dweights[run.number()], add_dweights,
                  dcontext.of(run.number(), size.batch)},
                 scratch);
      });
      if (dinput && side_by_side(size, packed.episodes(), team.size)) {
        add_share(memory.side_dx, packed.total() * size.layer_input(layer), dinput, thread,
                  team.size);
        team.barrier();
      }
      if (dinput && size.drops_inputs()) {
        drop_inputs<T>(size, packed, layer, dinput, nullptr, dinput, thread, team.size);
        team.barrier();
      }
      if (layer > 0 && size.drops()) {
        drop_outputs(size, packed, layer - 1, dinput, dinput, thread, team.size);
        team.barrier();
      }
      dlayer = dinput;
    }
    if (packs_dx) packed.unpack(memory.packed_dx, size.input_size, dx, thread, team.size);
  });
  if (copies) store_initial_gradients(size, packed, made, dinitial);
}

#define INSTANTIATE(T)                                                                             \
  template int network_threads<T>(const NetworkSize&, Index, Index, double);                       \
  template class PreparedForward<T>;                                                               \
  template PackedWeights<T> network_pack(const NetworkSize&,                                       \
                                         const std::vector<CellWeights<const T>>&);                \
  template Reserve<T> network_forward(const NetworkSize&, PackedBatch, const NetworkInput<T>&, T*, \
                                      const std::vector<T*>&);                                     \
  template void network_backward(                                                                  \
      const Reserve<T>&, const NetworkInput<T>&, const T*, const std::vector<const T*>&, T*,       \
      const std::vector<T*>&, const std::vector<CellWeights<T>>&, bool, const NetworkContext<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
