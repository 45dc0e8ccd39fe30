#pragma once
// Products with transposed weights: rows of gate gradients [tile][row][gate][unit] times panels of
// up to four vectors of columns, [panel][tile][gate][unit][columns].

#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

// Packs row blocks [first_gate, first_gate + gates) of `from` (gates * H, columns), the columns of
// vectors [v0, v0 + vectors), for the tiles given. Padding is zero.
template <class L, class T>
void pack_transposed(const T* from, Index hidden, Index columns, int first_gate, int gates,
                     Index v0, int vectors, Range tiles, T* to) {
  const Index width = vectors * L::W, depth = gates * L::kUnits;
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    for (int g = 0; g < gates; ++g) {
      const Index unit = tile * L::kUnits,
                  units = max_index(0, min_index(L::kUnits, hidden - unit));
      T* panel = to + (tile * depth + g * L::kUnits) * width;
      pad_rows(from + ((first_gate + g) * hidden + unit) * columns + v0 * L::W, columns, units,
               columns - v0 * L::W, panel, width);
      pad_rows<T>(nullptr, 0, L::kUnits - units, 0, panel + units * width, width);
    }
}

// out (count, vectors * lanes) = the sum over all tiles of gradient rows times a panel. `next` is
// the panel that is used after it; may be null.
template <class L, class T>
void transposed_product(const T* gradient, Index tile_stride, int gates, const T* panel,
                        const T* next, int vectors, Index tiles, Index count, T* out) {
  const Index width = vectors * L::W, depth = gates * L::kUnits;
  const Index step = max_index(1, kTransposedDepth / depth);
  for (Index tile = 0; tile < tiles; tile += step)
    multiply_rows<T>(
        {.a = gradient + tile * tile_stride,
         .lda = L::kGateRow,
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
