#include "rnn/step.h"

#include <cstring>
#include <numeric>

#include "core/carver.h"
#include "core/threads.h"
#include "cpu/dispatch.h"
#include "rnn/network.h"

namespace rnnfast {
namespace {

// The rows of a step, or of none if the batch is empty.
struct StepRows {
  explicit StepRows(const NetworkSize& s) : order(std::size_t(s.batch)), offset{0, s.batch} {
    std::iota(order.begin(), order.end(), Index(0));
  }
  LayerSize layer_size(const NetworkSize& s, bool backward) const {
    return {.rows = {.steps = s.seq_len,
                     .batch = s.batch,
                     .offset = offset,
                     .order = order.data(),
                     .sequence = order.data(),
                     .start = nullptr},
            .input_size = s.input_size,
            .hidden_size = s.hidden_size,
            .proj_size = 0,
            .reverse = false,
            .training = backward || s.training,
            .needs_dx = backward,
            .packed = !backward};
  }
  std::vector<Index> order;
  Index offset[2];
};

// What a step keeps for backward.
template <class T>
struct Memory {
  Memory(const NetworkSize& s, const LayerSize& layer, T* base) {
    const CellKernels<T>& cell = kernels<T>(s.cell, s.precision);
    const LayerReserve needs = cell.reserve(cell, layer);
    Carver<T> arena{base};
    gates = arena.take(needs.gates);
    states = arena.take(needs.states);
    y = arena.take(s.batch * s.hidden_size);
    used = arena.used;
  }
  T *gates, *states, *y;
  Index used;
};

// Sets the arguments that forward and backward share.
template <class T, class Args>
void set_inputs(Args& args, const StepInput<T>& input, const Memory<T>& memory) {
  args.x = input.x;
  args.x_stride = input.size.input_size;
  args.y = memory.y;
  args.y_stride = input.size.hidden_size;
  for (std::size_t s = 0; s < input.initial.size(); ++s) args.initial[s] = input.initial[s];
  args.gates = memory.gates;
  args.states = memory.states;
}

// Tells which weights' gradients are wanted. Nothing is written there before the last part.
template <class T>
CellWeights<T> marks(const CellWeights<const T>& w) {
  const auto mark = [](const T* weight) { return const_cast<T*>(weight); };
  return {mark(w.weight_ih), mark(w.weight_hh),      mark(w.bias_ih),
          mark(w.bias_hh),   mark(w.weight_channel), mark(w.weight_hr)};
}

template <class T>
std::size_t workspace_bytes(const NetworkSize& s, const LayerSize& layer, int threads) {
  const CellKernels<T>& cell = kernels<T>(s.cell, s.precision);
  return std::size_t(cell.backward_workspace(cell, layer, threads)) * sizeof(T);
}

}  // namespace

template <class T>
std::size_t step_memory(const NetworkSize& size) {
  const StepRows rows(size);
  return std::size_t(Memory<T>(size, rows.layer_size(size, false), nullptr).used) * sizeof(T);
}

template <class T>
void step_forward(const StepInput<T>& input, const PackedWeights<T>& packed, T* memory,
                  const std::vector<T*>& final) {
  const NetworkSize& size = input.size;
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  const StepRows rows(size);
  ForwardArgs<T> args{};
  args.size = rows.layer_size(size, false);
  args.packed = packed.layers[0];
  args.context = {input.context, 0};
  const int threads = network_groups<T>(size, size.batch, size.batch, 1).threads;
  const std::size_t kept = memory ? 0 : std::size_t(size.batch * size.hidden_size);
  const Buffer scratch = Buffer::allocate(
      (kept + std::size_t(cell.forward_workspace(cell, args.size, threads))) * sizeof(T));
  args.workspace = scratch.as<T>();
  if (memory) {
    set_inputs(args, input, Memory<T>(size, args.size, memory));
  } else {
    Memory<T> none(size, args.size, nullptr);
    none.y = scratch.as<T>() + cell.forward_workspace(cell, args.size, threads);
    set_inputs(args, input, none);
  }
  for (std::size_t s = 0; s < final.size(); ++s) args.final[s] = final[s];
  parallel(threads, [&](const Team& team, int thread) { cell.forward(cell, args, team, thread); });
}

template <class T>
void StepGradient<T>::require(std::size_t bytes) {
  if (bytes <= workspace_.size()) return;
  Buffer larger = Buffer::allocate(bytes);
  // What lasts has the same place for any batch.
  if (!empty_) std::memcpy(larger.data(), workspace_.data(), workspace_.size());
  workspace_ = std::move(larger);
}

template <class T>
void StepGradient<T>::add(const StepInput<T>& input, const T* memory,
                          const std::vector<const T*>& dfinal, T* dx,
                          const std::vector<T*>& dinitial, T* dcontext) {
  const NetworkSize& size = input.size;
  if (size.batch == 0) return;
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  const StepRows rows(size);
  BackwardArgs<T> args{};
  args.size = rows.layer_size(size, true);
  const int threads = network_groups<T>(size, size.batch, size.batch, 2).threads;
  require(workspace_bytes<T>(size, args.size, threads));
  args.part = {empty_, false};
  args.weights = weights_;
  set_inputs(args, input, Memory<T>(size, args.size, const_cast<T*>(memory)));
  args.workspace = workspace_.template as<T>();
  args.dweights = marks(wanted_);
  args.dx = dx;
  args.dx_stride = size.input_size;
  args.dcontext = {dcontext, 0};
  for (std::size_t s = 0; s < dinitial.size(); ++s) {
    args.dfinal[s] = dfinal[s];
    args.dinitial[s] = dinitial[s];
  }
  parallel(threads, [&](const Team& team, int thread) { cell.backward(cell, args, team, thread); });
  empty_ = false;
}

template <class T>
void StepGradient<T>::write(const CellWeights<T>& dweights) {
  NetworkSize none = size_;
  none.seq_len = none.batch = 0;
  const CellKernels<T>& cell = kernels<T>(none.cell, none.precision);
  const StepRows rows(none);
  BackwardArgs<T> args{};
  args.size = rows.layer_size(none, true);
  require(workspace_bytes<T>(none, args.size, 1));
  args.part = {empty_, true};  // empty sums become zeros
  args.weights = weights_;
  args.workspace = workspace_.template as<T>();
  args.dweights = dweights;
  parallel(1, [&](const Team& team, int thread) { cell.backward(cell, args, team, thread); });
}

#define INSTANTIATE(T)                                                         \
  template std::size_t step_memory<T>(const NetworkSize&);                     \
  template void step_forward(const StepInput<T>&, const PackedWeights<T>&, T*, \
                             const std::vector<T*>&);                          \
  template class StepGradient<T>;
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
