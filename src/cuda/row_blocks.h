#pragma once
// Runs of gates whose row blocks are adjacent in a weight matrix, so that one product computes them
// all.

#include "cuda/multiplied.h"

namespace rnnfast::cuda {

struct Run {
  int gate, block, count;  // the first gate and its row block
};

// Calls f(run) for gates in [first, end), all of which have a row block.
template <class Function>
void for_each_run(const RowBlocks& blocks, int first, int end, const Function& f) {
  for (int gate = first; gate < end;) {
    Run run{gate, blocks.of(gate), 1};
    while (gate + run.count < end && blocks.of(gate + run.count) == run.block + run.count)
      ++run.count;
    f(run);
    gate += run.count;
  }
}

// Calls f(slab, sum, run) for the products of a stage: the slab multiplied, and the first of the
// sums.
template <class Function>
void for_each_run(const CellInfo& info, int k, const Function& f) {
  const Multiplied stage(info, k);
  int sum = 0;
  for (int p = 0; p < info.stages[k].size(); ++p) {
    const Span gates = info.stages[k].products[p].gates;
    for_each_run(info.recurrent, gates.first, gates.end(), [&](const Run& run) {
      f(stage.slab[sum], sum, run);
      sum += run.count;
    });
  }
}

}  // namespace rnnfast::cuda
