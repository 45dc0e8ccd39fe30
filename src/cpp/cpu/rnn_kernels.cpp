// The recurrent kernels of one instruction set and one format: the drivers, and the functions that
// they call for each cell of the registry.
#include "cells/registry.h"
#include "cpu/backward.h"
#include "cpu/backward_cell.h"
#include "cpu/backward_program.h"
#include "cpu/forward.h"
#include "cpu/forward_cell.h"
#include "cpu/forward_program.h"
#include "cpu/probe.h"

namespace RNNFAST_ISA_NAMESPACE {
namespace {

using P = RNNFAST_FORMAT;
using T = RealOf<P>;

const CellCode<T>& code_of(const CellKernels<T>& cell) {
  return *static_cast<const CellCode<T>*>(cell.code);
}

LayerReserve reserve(const CellKernels<T>& cell, const LayerSize& size) {
  if (!size.training) return {0, 0, 0};
  const Layout<T>& l = code_of(cell).layout;
  const Index tiles = l.tiles(size.hidden_size), rows = size.rows.total();
  return {l.keeps_gates ? tiles * rows * l.slot_row : 0,
          l.extra_states * tiles * size.state_rows() * l.units,
          size.noise.zones ? rows * size.hidden_size : 0};
}

Index packed(const CellKernels<T>& cell, const LayerSize& size) {
  return PackedLayer<P>(code_of(cell).layout, nullptr, size).size;
}

Index forward_workspace(const CellKernels<T>& cell, const LayerSize& size, int threads) {
  return ForwardWorkspace<P>(code_of(cell), nullptr, size, threads, nullptr).size;
}

void pack(const CellKernels<T>& cell, const CellWeights<const T>& weights, const LayerSize& size,
          const Team& team, int thread, T* packed) {
  PackedLayer<P>(code_of(cell).layout, packed, size).pack(weights, size, true, team, thread);
}

void forward(const CellKernels<T>& cell, const ForwardArgs<T>& args, const Team& team, int thread) {
  Forward<P>(code_of(cell), args, team, thread).run();
}

// The backward pass of format Q, which is P. Nothing of it is compiled if the format has none.
template <class Q, bool = Format<Q>::kTrains>
struct BackwardOf {
  template <class Cell>
  static constexpr void add(CellCode<T>& code) {
    constexpr int first = Cell::info.first();
    for_each_index<Cell::info.size() - first>([&]<int i>() {
      code.backward[first + i] = &BackwardCell<Cell, Q>::template run<first + i>;
    });
    code.leave = &BackwardCell<Cell, Q>::leave;
  }
  static void add_program(CellCode<T>& code) {
    for (int stage = 0; stage < kMaxStages; ++stage)
      code.backward[stage] = &BackwardProgram<Q>::run;
    code.leave = &BackwardProgram<Q>::leave;
  }
  static constexpr void add(CellKernels<T>& kernels) {
    kernels.backward_workspace = &workspace;
    kernels.backward = &run;
  }

 private:
  static Index workspace(const CellKernels<T>& cell, const LayerSize& size, int threads) {
    return BackwardWorkspace<Q>(code_of(cell), nullptr, size, threads).size;
  }
  static void run(const CellKernels<T>& cell, const BackwardArgs<T>& args, const Team& team,
                  int thread) {
    Backward<Q>(code_of(cell), args, team, thread).run();
  }
};
template <class Q>
struct BackwardOf<Q, false> {
  template <class>
  static constexpr void add(CellCode<T>&) {}
  static void add_program(CellCode<T>&) {}
  static constexpr void add(CellKernels<T>&) {}
};

template <class Cell>
constexpr CellCode<T> make_code() {
  CellCode<T> code{Layout<T>(Cell::info), {}, {}, &ForwardCell<Cell, P>::open, nullptr};
  constexpr int first = Cell::info.first();
  for_each_index<Cell::info.size() - first>(
      [&]<int i>() { code.forward[first + i] = &ForwardCell<Cell, P>::template run<first + i>; });
  BackwardOf<P>::template add<Cell>(code);
  return code;
}
template <class Cell>
constexpr CellCode<T> kCode = make_code<Cell>();

constexpr CellKernels<T> make_kernels(const CellInfo& info, const CellCode<T>* code, Index units) {
  CellKernels<T> kernels{
      info,  code,     units,  kBackwardChunkRows, &reserve, &packed, &forward_workspace, nullptr,
      &pack, &forward, nullptr};
  BackwardOf<P>::add(kernels);
  return kernels;
}

template <class... Cell>
const CellKernels<T>* make_table(TypeList<Cell...>) {
  static constexpr CellKernels<T> table[] = {
      make_kernels(Cell::info, &kCode<Cell>, kCode<Cell>.layout.units)...};
  return table;
}

// The code of a cell written in Python, followed by its constants.
constexpr Index kTracedCodeValues = (sizeof(CellCode<T>) + sizeof(T) - 1) / sizeof(T);

Index traced_values(const TracedCell& cell) {
  return kTracedCodeValues + Index(cell.constant_count) * kMaxVectors * kLanes<T>;
}

CellKernels<T> traced_kernels(const TracedCell& cell, T* memory) {
  T* constants = memory + kTracedCodeValues;
  for (int i = 0; i < cell.constant_count; ++i)
    for (int v = 0; v < kMaxVectors; ++v)
      Vec<T>(T(cell.constants[i])).store(constants + (i * kMaxVectors + v) * kLanes<T>);
  CellCode<T> code{Layout<T>(cell.info), {}, {}, &ForwardProgram<P>::open, nullptr};
  for (int stage = 0; stage < kMaxStages; ++stage) code.forward[stage] = &ForwardProgram<P>::run;
  BackwardOf<P>::add_program(code);
  code.traced = &cell;
  code.constants = constants;
  __builtin_memcpy(memory, &code, sizeof(code));
  return make_kernels(cell.info, reinterpret_cast<const CellCode<T>*>(memory), code.layout.units);
}

}  // namespace

const FormatKernels<T>& format_kernels(const P*) {
  static const FormatKernels<T> kernels{make_table(Cells{}), &traced_values, &traced_kernels,
                                        kProbeRoundFlops<P>, &probe_multiply_adds<P>};
  return kernels;
}

}  // namespace RNNFAST_ISA_NAMESPACE
