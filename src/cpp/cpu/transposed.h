#pragma once
// Products with transposed weights: rows of gate gradients [tile][row][gate][unit] times panels of
// up to four vectors of columns, [panel][tile][gate][step of the units][columns].

#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

// Packs the row blocks of some gates of `from` (blocks * H, columns), the columns of vectors
// [v0, v0 + vectors), for the tiles given. Padding is zero.
template <class P>
void pack_transposed(const Layout<RealOf<P>>& l, const RealOf<P>* from, const RowBlocks& blocks,
                     Index hidden, Index columns, Span gates, Index v0, int vectors, Range tiles,
                     RealOf<P>* to) {
  using T = RealOf<P>;
  const Index steps = Format<P>::steps(l.units);
  const Index width = vectors * l.W;
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    for (int g = 0; g < gates.count; ++g) {
      const Index unit = tile * l.units, units = max_index(0, min_index(l.units, hidden - unit));
      const Index used = Format<P>::steps(units);
      T* panel = to + (tile * gates.count + g) * steps * width;
      const Index row = blocks.of(gates.first + g) * hidden + unit;
      pad_rows<P>(from + row * columns + v0 * l.W, columns, units, columns - v0 * l.W, panel,
                  width);
      pad_rows<T>(nullptr, 0, steps - used, 0, panel + used * width, width);
    }
}

// out (count, vectors * lanes) = the sum over all tiles of gradient rows times a panel. `next` is
// the panel used afterwards, to prefetch; it may be null.
template <class P>
void transposed_product(const Layout<RealOf<P>>& l, const RealOf<P>* gradient, Index tile_stride,
                        int gates, const RealOf<P>* panel, const RealOf<P>* next, int vectors,
                        Index tiles, Index count, RealOf<P>* out) {
  const Index width = vectors * l.W, depth = Format<P>::steps(gates * l.units);
  const Index step = max_index(1, kTransposedDepth / depth);
  for (Index tile = 0; tile < tiles; tile += step)
    multiply_rows<P>(
        {.a = gradient + tile * tile_stride,
         .lda = Format<P>::operand_lanes(l.gate_row),
         .b = panel + tile * depth * width,
         .ldb = width,
         .depth = depth,
         .parts = min_index(step, tiles - tile),
         .a_step = tile_stride,
         .b_step = depth * width,
         .c = out,
         .ldc = width,
         .columns = int(width),
         .add = tile > 0,
         .ahead = {tile + step < tiles ? panel + (tile + step) * depth * width : next}},
        count);
}

}  // namespace RNNFAST_ISA_NAMESPACE
