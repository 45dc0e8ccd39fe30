#pragma once
// The forward pass's scratch memory: packed weights and intermediate results.

#include "cpu/cell_code.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
struct ForwardWorkspace {
  using T = RealOf<P>;
  using F = Format<P>;
  // Buffers that survive from one part to the next come first, so that their offsets do not depend
  // on the number of rows.
  PackedLayer<P> weights;
  T* h0;      // (B, R), R columns of h
  T* gates;   // [tile][chunk row][slot][unit], unless the reserve holds them
  T* states;  // like h, [state][tile][B][unit], unless the reserve holds them
  T* x;       // (chunk rows, I) as products read it, unless they read it in place
  // [version] of (B, R) as operands, if products round or drop: after the initial state, even steps
  // and odd steps.
  T* h;
  T* m;                   // (B, H) as operands: the step's m, which is projected
  T* values[kMaxValues];  // (B, H) each; an opening stage's have versions like h
  T* mask;                // (B, H) of recurrent dropout
  T* made;  // (B, H), with zoneout: h as the cell computed it, unless the reserve holds it
  // [thread][product of a stage][B], operands as products read them, if quantised. Threads that
  // share a dense batch by sequences write different rows of one copy.
  T* rows;
  T* sums;     // [thread][row of a block][gate][unit]
  T* moments;  // [thread][norm][B][mean, 1 / deviation]
  // The most rows of sums that one call of the pointwise part takes, summed over its tiles.
  static constexpr Index kSumRows = 32;
  Index row;                                       // lanes of one of `rows`
  Index thread_rows, thread_sums, thread_moments;  // values per thread
  static constexpr bool kConvertsInput = F::kRounds || F::kQuantizes;
  static constexpr int kVersions = 3;  // of what a step prepares for the next one
  Index size;

  // The weights are at `packed`, or in the workspace itself if that is null.
  ForwardWorkspace(const CellCode<T>& cell, T* base, const LayerSize& s, int threads, T* packed)
      : weights(cell.layout, packed ? packed : base, s),
        thread_sums(kSumRows * cell.layout.gate_row),
        thread_moments(cell.norm_count() * s.rows.batch * 2) {
    const Layout<T>& l = cell.layout;
    Carver<T> c{base, s.packed ? 0 : weights.size};
    const Index H = s.hidden_size, B = s.rows.batch, tiles = l.tiles(H);
    const bool keeps_gates = s.training && l.keeps_gates;
    h0 = c.take(B * s.h_size());
    gates = c.take(
        keeps_gates ? 0 : tiles * chunk_capacity(s.rows, blocking().forward_rows) * l.slot_row);
    states = c.take(s.training ? 0 : l.extra_states * tiles * state_rows(s) * l.units);
    x = c.take(kConvertsInput
                   ? chunk_capacity(s.rows, blocking().forward_rows) * F::row_lanes(s.input_size)
                   : 0);
    h = c.take(F::kRounds || s.noise.drops() ? kVersions * B * F::operand_lanes(s.h_size()) : 0);
    m = c.take(s.proj_size ? B * F::operand_lanes(H) : 0);
    for (int i = 0; i < l.values; ++i)
      values[i] = c.take((i < l.opening_values ? kVersions : 1) * B * F::operand_lanes(H));
    mask = c.take(s.noise.drops() ? B * H : 0);
    made = c.take(s.noise.zones && !s.training ? B * H : 0);
    row = F::row_lanes(max_index(s.h_size(), H));
    const Index rows_size = F::kQuantizes ? l.products.most() * B * row : 0;
    const bool together = s.rows.dense() && !partition(l, s, B, 0, threads).by_tiles;
    thread_rows = together ? 0 : rows_size;
    rows = c.take(together ? rows_size : threads * rows_size);
    sums = c.take(threads * thread_sums);
    moments = c.take(threads * thread_moments);
    size = c.used;
  }

  // Rows of a tile's states if the reserve does not hold them. With zoneout, the states as the cell
  // computes them in a step come last.
  static Index state_rows(const LayerSize& s) {
    return (kVersions + (s.noise.zones ? 1 : 0)) * s.rows.batch;
  }
};

}  // namespace RNNFAST_ISA_NAMESPACE
