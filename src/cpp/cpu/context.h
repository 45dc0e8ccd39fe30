#pragma once
// What a context adds to the input part of the gates. Forward adds its rows after the input
// product; backward adds the gradients of the input parts to the rows of its gradient.

#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

// The row of packed sequence r's step t. Rows have `width` values.
template <class T>
RNNFAST_INLINE T* context_row(const ContextGates<T>& context, const PackedRows& rows, Index t,
                              Index r, Index width) {
  const Index sequence = rows.sequence[r];
  const Index row = context.batch ? rows.step_of(t, r) * context.batch + sequence : sequence;
  return context.rows + row * width;
}

// Calls f(place in a tile's gates, place in a row of the context, lanes) for each vector of units
// of a tile and each gate with an input part.
template <class T, class Function>
RNNFAST_INLINE void for_context_vectors(const Layout<T>& l, Index hidden, Index tile,
                                        Function&& f) {
  for (int g = l.input_gates.first; g < l.input_gates.end(); ++g)
    for (int v = 0; v < l.used_vectors(hidden, tile); ++v) {
      const Index vector = tile * l.tile_vectors + v;
      f(g * l.units + v * l.W, l.info.input.of(g) * hidden + vector * l.W, l.lanes(hidden, vector));
    }
}

// Adds the context to a thread's rows of a chunk. `gates` points at packed row `first`.
template <class T>
__attribute__((noinline)) void add_context(const Layout<T>& l, const ForwardArgs<T>& args,
                                           const Chunk& chunk, const Partition& own, Index first,
                                           Index gates_tile, T* gates) {
  using V = Vec<T>;
  const PackedRows& rows = args.size.rows;
  const Index H = args.size.hidden_size, width = l.input_gates.count * H;
  for (Index t = min_index(chunk.first, chunk.last); t <= max_index(chunk.first, chunk.last); ++t)
    for (Index r = own.batch.begin; r < min_index(own.batch.end, rows.count(t)); ++r) {
      const T* from = context_row(args.context, rows, t, r, width);
      for (Index tile = own.tiles.begin; tile < own.tiles.end; ++tile) {
        T* to = gates + tile * gates_tile + (rows.offset[t] + r - first) * l.slot_row;
        for_context_vectors(l, H, tile, [&](Index at, Index column, int lanes) {
          (V::load(to + at) + V::load(from + column, lanes)).store(to + at);
        });
      }
    }
}

// Adds the gradients of a chunk's input parts, [tile][chunk row][gate][unit], to the gradient of
// the context, for some tiles. The steps of a sequence are added one by one in the order in which
// backward takes them, so that its sums do not depend on other sequences or on chunks.
template <class P>
__attribute__((noinline)) void add_context_gradient(const Layout<RealOf<P>>& l,
                                                    const BackwardArgs<RealOf<P>>& args,
                                                    const Chunk& chunk, Range tiles,
                                                    const RealOf<P>* gates, Index gates_tile) {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  const PackedRows& rows = args.size.rows;
  const Index H = args.size.hidden_size, width = l.input_gates.count * H;
  const Index step = chunk.first <= chunk.last ? 1 : -1;
  for (Index t = chunk.first; t != chunk.last + step; t += step)
    for (Index r = 0; r < rows.count(t); ++r) {
      T* to = context_row(args.dcontext, rows, t, r, width);
      const Index row = rows.offset[t] + r - chunk.row;
      for (Index tile = tiles.begin; tile < tiles.end; ++tile) {
        const T* from = gates + tile * gates_tile + row * F::operand_lanes(l.gate_row);
        for_context_vectors(l, H, tile, [&](Index at, Index column, int lanes) {
          (V::load(to + column, lanes) + F::load(from + F::operand_lanes(at)))
              .store(to + column, lanes);
        });
      }
    }
}

}  // namespace RNNFAST_ISA_NAMESPACE
