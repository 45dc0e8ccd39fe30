// The backward pass of a network.
#include <algorithm>
#include <optional>

#include "core/carver.h"
#include "core/threads.h"
#include "rnn/cell_run.h"
#include "rnn/episode_states.h"
#include "rnn/masks.h"
#include "rnn/network.h"
#include "rnn/wave.h"

namespace rnnfast {
namespace {

// The scratch of one direction's backward pass on `threads` threads.
template <class T>
struct CellScratch {
  T* workspace;
  T *gates, *states, *made, *forward_workspace;  // to recompute a segment's gates

  void take(const Reserve<T>& r, bool needs_dx, int threads, Carver<T>& arena) {
    const SegmentMemory segment = r.segment_memory(true, needs_dx, threads);
    workspace = arena.take(segment.backward_workspace);
    gates = arena.take(segment.gates);
    states = arena.take(segment.states);
    made = arena.take(segment.made);
    forward_workspace = arena.take(segment.forward_workspace);
  }
};

// The memory of a backward pass.
template <class T>
struct BackwardMemory {
  T *even, *odd;                        // gradients of the layers' outputs, which alternate
  T *packed_dy, *packed_dx;             // dy and dx as packed rows
  T* side_dx;                           // of direction 1 where it runs beside direction 0
  T* masks;                             // of inputs, for the threads of the team
  CellScratch<T> whole{};               // of the team
  std::vector<CellScratch<T>> parts{};  // of its groups, in the same memory

  BackwardMemory(const Reserve<T>& r, bool packs_dy, bool packs_dx, bool needs_dx,
                 const Groups& groups, T* base) {
    const NetworkSize& s = r.size;
    const Index width = s.y_size(), rows = r.packed.total();
    const Index widest = std::max(needs_dx ? s.input_size : 0, s.num_layers > 1 ? width : 0);
    Carver<T> arena{base};
    even = arena.take(s.num_layers > 1 ? rows * width : 0);
    odd = arena.take(s.num_layers > 2 ? rows * width : 0);
    packed_dy = arena.take(packs_dy ? rows * width : 0);
    packed_dx = arena.take(packs_dx ? rows * s.input_size : 0);
    side_dx = arena.take(s.num_directions == 2 && groups.count == 2 ? rows * widest : 0);
    masks = arena.take(input_mask_memory(s, groups.threads));
    Carver<T> again = arena;
    whole.take(r, needs_dx, groups.threads, arena);
    if (groups.count > 1) parts.resize(groups.count);
    for (CellScratch<T>& part : parts) part.take(r, needs_dx, groups.size(), again);
    used = std::max(arena.used, again.used);
  }
  Index used;
};

// Whether two layers or directions add to the same array. They then must not run side by side.
template <class T>
bool share_gradients(const std::vector<CellWeights<T>>& dweights,
                     const NetworkContext<T>& context) {
  std::vector<const T*> arrays(context.gates.begin(), context.gates.end());
  for (const CellWeights<T>& w : dweights)
    for (const T* array :
         {w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh, w.weight_channel, w.weight_hr})
      if (array) arrays.push_back(array);
  std::sort(arrays.begin(), arrays.end());
  return std::adjacent_find(arrays.begin(), arrays.end()) != arrays.end();
}

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

// Recomputes the gates and states of segment k. A forward pass that stores no final states ends
// with a barrier.
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
    args.flow = run.flow;
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

template <class T>
void network_backward(const Reserve<T>& r, const NetworkInput<T>& input, const T* dy,
                      const std::vector<const T*>& dfinal, T* dx, const std::vector<T*>& dinitial,
                      const std::vector<CellWeights<T>>& dweights, bool add_dweights,
                      const NetworkContext<T>& dcontext) {
  const NetworkSize& size = r.size;
  const PackedBatch& packed = r.packed;
  const Index width = size.y_size();
  Groups planned = network_groups<T>(size, packed.total(), packed.episodes(), 2);
  if (planned.count > 1 && share_gradients(dweights, dcontext)) planned.count = 1;
  const bool packs_dy = dy && !packed.is_dense(), packs_dx = dx && !packed.is_dense();
  const auto lay_out = [&](T* base) {
    return BackwardMemory<T>(r, packs_dy, packs_dx, dx != nullptr, planned, base);
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

  // The gradient of a layer's inputs, which is that of the outputs of the layer before it.
  const auto dinput = [&](Index layer) {
    if (layer == 0) return packs_dx ? memory.packed_dx : dx;
    return layer % 2 ? memory.even : memory.odd;
  };
  const auto run_cell = [&](Index layer, const Side& side, const Flow* flow) {
    const CellRun<T> run{r, input, initial, layer, side.direction, side.team, side.thread, flow};
    const T* dlayer = packs_dy ? memory.packed_dy : dy;
    const bool apart = side.direction > 0 && side.group > 0;  // from direction 0
    backward(run,
             {layer + 1 < size.num_layers ? dinput(layer + 1) : dlayer,
              copies ? copied_dfinal.arrays : dfinal,
              apart && dinput(layer) ? memory.side_dx : dinput(layer), side.direction > 0 && !apart,
              copies ? made.arrays : dinitial, dweights[run.number()], add_dweights,
              dcontext.of(run.number(), size.batch)},
             side.team.number ? memory.parts[side.group] : memory.whole);
  };
  const auto drop = [&](Index layer, StepRange steps, const Team& team, int thread) {
    if (layer == 0 || !size.drops()) return;
    drop_outputs<T>(size, packed, layer - 1, steps, dinput(layer), dinput(layer), thread,
                    team.size);
    team.barrier();
  };
  std::optional<Wave> wave;
  if (planned.in_wave(size)) wave.emplace(size.num_layers, packed.steps(), true, planned);
  parallel(planned.threads, [&](const Team& team, int thread) {
    if (packs_dy) packed.pack(dy, width, memory.packed_dy, thread, team.size);
    team.barrier();
    const int groups = planned.of(team);
    if (wave && groups > 1) {
      wave->run(team, thread, run_cell, drop);
    } else {
      for (Index layer = size.num_layers - 1; layer >= 0; --layer) {
        for_directions(size.num_directions, groups, team, thread,
                       [&](const Side& side) { run_cell(layer, side, nullptr); });
        if (dinput(layer) && groups > 1) {
          add_share(memory.side_dx, packed.total() * size.layer_input(layer), dinput(layer), thread,
                    team.size);
          team.barrier();
        }
        if (dinput(layer) && size.drops_inputs()) {
          drop_inputs<T>(size, packed, layer, dinput(layer), nullptr, dinput(layer), memory.masks,
                         thread, team.size);
          team.barrier();
        }
        drop(layer, {0, packed.steps()}, team, thread);
      }
    }
    if (packs_dx) packed.unpack(memory.packed_dx, size.input_size, dx, thread, team.size);
  });
  if (copies) store_initial_gradients(size, packed, made, dinitial);
}

#define INSTANTIATE(T)                                                                       \
  template void network_backward(                                                            \
      const Reserve<T>&, const NetworkInput<T>&, const T*, const std::vector<const T*>&, T*, \
      const std::vector<T*>&, const std::vector<CellWeights<T>>&, bool, const NetworkContext<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
