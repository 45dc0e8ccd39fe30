#pragma once
// The backward pass's scratch memory: packed weights, sums of gradients and intermediate results.

#include "cpu/cell_code.h"
#include "cpu/projection_gradient.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
struct BackwardWorkspace {
  using T = RealOf<P>;
  using F = Format<P>;
  // Buffers that survive from one part to the next come first, so that their offsets do not depend
  // on the number of rows.
  T *w_hh, *w_ih;    // transposed panels
  T* params;         // [tile][param][unit]
  T *dw_ih, *dw_hh;  // sums
  T* dw_params;      // [tile][param][unit]
  ProjectionMemory<P> projection;
  T* h0;     // (B, R), R columns of h
  T* carry;  // [state][tile][B][unit]: gradients of the states between two steps
  T* dheld;  // with zoneout likewise: the gradient that bypasses a step
  T* mask;   // (B, H) of recurrent dropout
  T* h;      // (chunk rows, H): h as the products multiplied it, with recurrent dropout
  T* dh[2];  // [tile][chunk row][gate][unit], recurrent parts; chunks alternate
  T* dx;     // likewise, input parts, if the two differ
  T *dh_steps, *dx_steps;  // [tile][step of the chunk rows][gate][unit], if products round
  T* dparams;              // [tile][chunk row][param][unit]
  T* dkept;                // [tile][B][slot read by a later stage][unit], of one step
  T* dnorms;               // [tile][B][norm][unit], likewise
  T* moments;              // [thread][norm][B][4]: see BackwardBlock
  Index thread_moments;
  T* values[kMaxValues];  // (chunk rows, H) each: operands that are not h
  // Left-hand sides: x, then each product's operand, [block][chunk row][column].
  T* packed[kAllProducts + 1];
  T *direct, *direct_dx;  // direct products: [product and scratch][row][unit], [2][row][column]
  T* products;            // [thread][product][strip row][four vectors]
  Index thread_products;  // values per thread
  int bias_hh;            // 1 if its gradient is summed separately from bias_ih's
  Index chunk_rows;
  Index size;

  BackwardWorkspace(const CellCode<T>& cell, T* base, const LayerSize& s, int threads)
      : thread_moments(cell.norm_count() * s.rows.batch * 4),
        thread_products(max_index(1, cell.layout.products.size) * blocking().strip_rows *
                        kMaxVectors * cell.layout.W),
        bias_hh(cell.layout.own_bias_hh ? 1 : 0) {
    const Layout<T>& l = cell.layout;
    Carver<T> c{base};
    const Index I = s.input_size, H = s.hidden_size, B = s.rows.batch, tiles = l.tiles(H);
    const Index R = s.h_size();
    chunk_rows = chunk_capacity(s.rows, kBackwardChunkRows);
    const Index packs = s.direct ? 0 : 1;
    w_hh = c.take(packs * l.vectors(R) * l.W * tiles * F::steps(l.gate_row));
    w_ih = c.take(packs * s.needs_dx * l.vectors(I) * l.W * tiles * F::steps(l.gate_row));
    params = c.take(tiles * l.param_row);
    dw_ih = c.take(packs * tiles * (I + 1) * l.gate_row);
    dw_hh = c.take(packs * tiles * (R + bias_hh) * l.gate_row);
    dw_params = c.take(tiles * l.param_row);
    projection.take_kept(c, s);
    h0 = c.take(B * R);
    projection.take(c, s, chunk_rows);
    carry = c.take(l.info.states * tiles * B * l.units);
    dheld = c.take(s.noise.zones ? l.info.states * tiles * B * l.units : 0);
    mask = c.take(s.noise.drops() ? B * H : 0);
    h = c.take(s.noise.drops() ? chunk_rows * H : 0);
    const Index gates = tiles * chunk_rows * F::operand_lanes(l.gate_row);
    const Index steps = F::kRounds ? tiles * F::steps(chunk_rows) * l.gate_row : 0;
    for (T*& buffer : dh) buffer = c.take(gates);
    dx = c.take(l.split ? gates : 0);
    dh_steps = c.take(steps);
    dx_steps = l.split ? c.take(steps) : dh_steps;
    dparams = c.take(tiles * chunk_rows * l.param_row);
    dkept = c.take(tiles * B * l.seen_row);
    dnorms = c.take(tiles * B * cell.norm_count() * l.units);
    moments = c.take(threads * thread_moments);
    for (int i = 0; i < l.values; ++i) values[i] = c.take(chunk_rows * H);
    packed[0] = c.take(packs * F::operand_lanes(chunk_rows) * (I + 1));
    for (int p = 0; p < l.products.size; ++p)
      packed[p + 1] = c.take(packs * F::operand_lanes(chunk_rows) * (R + bias_hh));
    const Index direct_rows = s.direct ? chunk_rows : 0;
    direct = c.take((l.products.size + 1) * direct_rows * l.vectors(H) * l.W);
    direct_dx = c.take(s.needs_dx ? 2 * direct_rows * l.vectors(I) * l.W : 0);
    products = c.take(threads * thread_products);
    size = c.used;
  }
};

}  // namespace RNNFAST_ISA_NAMESPACE
