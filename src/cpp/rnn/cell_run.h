#pragma once
// One layer and direction of a network, as forward and backward run it.

#include "core/team.h"
#include "cpu/dispatch.h"
#include "rnn/reserve.h"

namespace rnnfast {

// Runs the steps a segment at a time.
template <class T>
struct CellRun {
  const Reserve<T>& reserve;
  const NetworkInput<T>& input;
  const std::vector<const T*>& initial;  // of the episodes
  Index layer, direction;
  const Team& team;
  int thread;
  const Flow* flow = nullptr;  // to other layers at work at the same time

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
      args.flow = flow;
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

}  // namespace rnnfast
