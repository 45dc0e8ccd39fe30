// The recurrent kernels of one instruction set and one real type: a table over the registry.
#include "cells/registry.h"
#include "cpu/backward.h"
#include "cpu/forward.h"

namespace RNNFAST_ISA_NAMESPACE {
namespace {

template <class Cell, class T>
LayerMemory memory(const LayerSize& size, int threads) {
  using L = Layout<Cell, T>;
  const Index tiles = L::tiles(size.hidden_size), rows = size.rows.total();
  return {size.training && L::kKeepsGates ? tiles * rows * L::kSlotRow : 0,
          size.training ? L::kExtraStates * tiles * (size.rows.batch + rows) * L::kUnits : 0,
          PackedLayer<L, T>(nullptr, size, true).size,
          ForwardWorkspace<L, T>(nullptr, size, threads, nullptr).size,
          BackwardWorkspace<L, T>(nullptr, size, threads).size};
}

template <class Cell, class T>
void pack(const CellWeights<const T>& weights, const LayerSize& size, const Team& team, int thread,
          T* packed) {
  using L = Layout<Cell, T>;
  const PackedLayer<L, T> layer(packed, size, true);
  const Range tiles = share(L::tiles(size.hidden_size), thread, team.size);
  layer.pack_matrices(weights, size, tiles);
  layer.pack_vectors(weights, size, tiles);
}

template <class Cell, class T>
void forward(const ForwardArgs<T>& args, const Team& team, int thread) {
  Forward<Cell, T>(args, team, thread).run();
}

template <class Cell, class T>
void backward(const BackwardArgs<T>& args, const Team& team, int thread) {
  Backward<Cell, T>(args, team, thread).run();
}

template <class T, class... Cell>
const CellKernels<T>* make_table(TypeList<Cell...>) {
  static constexpr CellKernels<T> table[] = {
      {Cell::info, &memory<Cell, T>, &pack<Cell, T>, &forward<Cell, T>, &backward<Cell, T>}...};
  return table;
}

}  // namespace

const CellKernels<RNNFAST_REAL>* cell_kernels(RNNFAST_REAL) {
  return make_table<RNNFAST_REAL>(Cells{});
}

}  // namespace RNNFAST_ISA_NAMESPACE
