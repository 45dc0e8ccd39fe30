// The backward pass of a network.
#include <algorithm>

#include "core/carver.h"
#include "core/threads.h"
#include "rnn/cell_run.h"
#include "rnn/episode_states.h"
#include "rnn/masks.h"
#include "rnn/network.h"
#include "rnn/sides.h"

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
  CellScratch<T> whole{}, halves[2]{};  // of the team, and of its halves; they share memory

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
    const bool splits = side_by_side(s, r.packed.episodes(), threads);
    side_dx = arena.take(splits ? rows * widest : 0);
    Carver<T> again = arena;
    whole.take(r, needs_dx, threads, arena);
    for (CellScratch<T>& half : halves)
      if (splits) half.take(r, needs_dx, threads / 2, again);
    used = std::max(arena.used, again.used);
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
        const bool is_half = side.team.size < team.size;
        backward(run,
                 {dlayer, copies ? copied_dfinal.arrays : dfinal,
                  side.number && dinput ? memory.side_dx : dinput, side.direction > side.number,
                  copies ? made.arrays : dinitial, dweights[run.number()], add_dweights,
                  dcontext.of(run.number(), size.batch)},
                 is_half ? memory.halves[side.number] : memory.whole);
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

#define INSTANTIATE(T)                                                                       \
  template void network_backward(                                                            \
      const Reserve<T>&, const NetworkInput<T>&, const T*, const std::vector<const T*>&, T*, \
      const std::vector<T*>&, const std::vector<CellWeights<T>>&, bool, const NetworkContext<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
