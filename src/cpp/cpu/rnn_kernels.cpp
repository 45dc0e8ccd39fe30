// The recurrent kernels of one instruction set and one format: a table over the registry.
#include "cells/registry.h"
#include "cpu/backward.h"
#include "cpu/forward.h"
#include "cpu/probe.h"

namespace RNNFAST_ISA_NAMESPACE {
namespace {

template <class Cell, class P>
LayerMemory memory(const LayerSize& size, int threads) {
  using L = Layout<Cell, RealOf<P>>;
  const Index tiles = L::tiles(size.hidden_size), rows = size.rows.total();
  return {size.training && L::kKeepsGates ? tiles * rows * L::kSlotRow : 0,
          size.training ? L::kExtraStates * tiles * (size.rows.batch + rows) * L::kUnits : 0,
          PackedLayer<L, P>(nullptr, size).size,
          ForwardWorkspace<L, P>(nullptr, size, threads, nullptr).size,
          BackwardWorkspace<L, P>(nullptr, size, threads).size};
}

template <class Cell, class P>
void pack(const CellWeights<const RealOf<P>>& weights, const LayerSize& size, const Team& team,
          int thread, RealOf<P>* packed) {
  using L = Layout<Cell, RealOf<P>>;
  PackedLayer<L, P>(packed, size)
      .pack(weights, size, share(L::tiles(size.hidden_size), thread, team.size));
}

template <class Cell, class P>
void forward(const ForwardArgs<RealOf<P>>& args, const Team& team, int thread) {
  Forward<Cell, P>(args, team, thread).run();
}

template <class Cell, class P>
void backward(const BackwardArgs<RealOf<P>>& args, const Team& team, int thread) {
  Backward<Cell, P>(args, team, thread).run();
}

template <class P, class... Cell>
const CellKernels<RealOf<P>>* make_table(TypeList<Cell...>) {
  static constexpr CellKernels<RealOf<P>> table[] = {
      {Cell::info, Layout<Cell, RealOf<P>>::kUnits, kBackwardChunkRows, &memory<Cell, P>,
       &pack<Cell, P>, &forward<Cell, P>, &backward<Cell, P>}...};
  return table;
}

}  // namespace

const FormatKernels<RealOf<RNNFAST_FORMAT>>& format_kernels(const RNNFAST_FORMAT*) {
  static const FormatKernels<RealOf<RNNFAST_FORMAT>> kernels{make_table<RNNFAST_FORMAT>(Cells{}),
                                                             kProbeRoundFlops<RNNFAST_FORMAT>,
                                                             &probe_multiply_adds<RNNFAST_FORMAT>};
  return kernels;
}

}  // namespace RNNFAST_ISA_NAMESPACE
