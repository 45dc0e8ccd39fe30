#pragma once
// How a cell's weights, gates and states lie in memory, and who works on what.
//
// Hidden units are handled in tiles. A tile is one vector of units if every product of the cell has
// three gates or more, so that its gates fill the columns of a panel, and four vectors otherwise,
// so that each gate fills one. Within a tile the columns are [gate][vector][lane].

#include "core/carver.h"
#include "cpu/pack.h"

namespace RNNFAST_ISA_NAMESPACE {

// The recurrent products of all stages, in their order.
struct ProductList {
  Product item[kMaxStages * kMaxProducts] = {};
  int first[kMaxStages + 1] = {};  // of each stage, and one after the last
  int size = 0;
};

constexpr ProductList products_of(const CellInfo& info) {
  ProductList list;
  for (int k = 0; k < info.size(); ++k) {
    list.first[k] = list.size;
    for (int p = 0; p < info.stages[k].size(); ++p)
      list.item[list.size++] = info.stages[k].products[p];
  }
  list.first[info.size()] = list.size;
  return list;
}

template <class Cell, class T>
struct Layout {
  static constexpr CellInfo info = Cell::info;
  static constexpr ProductList products = products_of(info);
  static constexpr int W = kLanes<T>;

  static constexpr int vectors_a_tile() {
    for (int p = 0; p < products.size; ++p)
      if (products.item[p].gates.count < 3) return kMaxVectors;
    return 1;
  }
  static constexpr int kTileVectors = vectors_a_tile();
  static constexpr int kUnits = kTileVectors * W;       // hidden units of a tile
  static constexpr int kGateRow = info.gates * kUnits;  // gates of one row in a tile
  static constexpr int kSlots = info.slots();
  static constexpr int kSlotRow = kSlots * kUnits;       // saved values of one row in a tile
  static constexpr int kSeenRow = info.seen() * kUnits;  // of them, what later stages see
  static constexpr int kParamRow = info.params * kUnits;
  static constexpr int kExtraStates = info.states - 1;  // beyond h
  static constexpr bool kKeepsGates = info.saved() > 0;

  static RNNFAST_INLINE Index vectors(Index hidden) { return (hidden + W - 1) / W; }
  static RNNFAST_INLINE Index tiles(Index hidden) { return (hidden + kUnits - 1) / kUnits; }
  static RNNFAST_INLINE Index recurrent_bytes(Index hidden) {
    return info.gates * hidden * hidden * Index(sizeof(T));
  }
  static RNNFAST_INLINE int tile_vectors(Index hidden, Index tile) {
    return int(min_index(kTileVectors, vectors(hidden) - tile * kTileVectors));
  }
  static RNNFAST_INLINE int lanes(Index hidden, Index vector) {
    return int(max_index(0, min_index(W, hidden - vector * W)));
  }

  // Calls f(first column, vectors) for each panel of some gates.
  template <class F>
  static RNNFAST_INLINE void for_panels(Span gates, int tile_vectors, F&& f) {
    if constexpr (kTileVectors == 1) {
      for_blocks(gates.count, kMaxVectors,
                 [&](Index first, Index count) { f(int(gates.first + first), int(count)); });
    } else {
      for (int g = gates.first; g < gates.end(); ++g) f(g * kTileVectors, tile_vectors);
    }
  }

  // Panels of a tile that some gates have, or the products [begin, end).
  static constexpr int panels(Span gates) {
    return kTileVectors == 1 ? (gates.count + kMaxVectors - 1) / kMaxVectors : gates.count;
  }
  static constexpr int panels(int begin, int end) {
    int count = 0;
    for (int p = begin; p < end; ++p) count += panels(products.item[p].gates);
    return count;
  }

  // Rows of a block such that one block serves every panel of the cell.
  static constexpr int panel_vectors() {
    if (kTileVectors > 1) return kMaxVectors;
    int widest = 0;
    for (int p = 0; p < products.size; ++p) {
      const int gates = products.item[p].gates.count,
                panels = (gates + kMaxVectors - 1) / kMaxVectors;
      const int vectors = (gates + panels - 1) / panels;
      widest = vectors > widest ? vectors : widest;
    }
    return widest;
  }
  static constexpr int kRows = kBlockRows[panel_vectors()];
  static constexpr Span kGates = {0, info.gates};  // all of them
};

// Rows of gates made by one product with the input (forward) and kept between two weight-gradient
// products (backward): enough to fill the kernel, few enough to stay in the cache.
inline constexpr Index kForwardChunkRows = 192;
inline constexpr Index kBackwardChunkRows = 512;
inline constexpr Index kStripRows = 96;    // rows of a transposed product, per panel of weights
inline constexpr Index kDepthBlock = 512;  // depth of the input product per pass over the rows
inline constexpr Index kTransposedDepth = 1024;  // the same for transposed products

// Rows that a weight gradient sums in registers: few, so that the sums' rounding errors stay small
// and the gates stay in the L1 cache.
inline constexpr Index kGradientDepth = 128;
// How many values of the packed operand are multiplied with all tiles before a weight gradient
// moves on: they stay in the L2 cache.
inline constexpr Index kGradientValues = 128 * 1024;

// The steps of one chunk. Steps are processed in order of time, or against it if `reverse`.
struct Chunk {
  Index first, last;  // first and last processed step, both included
  Index row, rows;    // its packed rows
};

// The chunk that starts with step `first` and goes on in direction `step` (+1 or -1).
RNNFAST_INLINE Chunk chunk_from(const PackedRows& rows, Index first, Index step, Index target) {
  Chunk c{first, first, rows.offset[first], rows.count(first)};
  while (c.rows < target && c.last + step >= 0 && c.last + step < rows.steps) {
    c.last += step;
    c.rows += rows.count(c.last);
    if (step < 0) c.row = rows.offset[c.last];
  }
  return c;
}
RNNFAST_INLINE Index chunk_capacity(const PackedRows& rows, Index target) {
  return min_index(rows.total(), target - 1 + rows.batch);
}

// The order in which a direction processes the steps, and which sequences go on from step to step.
struct StepOrder {
  const PackedRows& rows;
  bool reverse;

  // The step processed before t, or -1 if there is none.
  RNNFAST_INLINE Index previous(Index t) const {
    if (reverse) return t + 1 < rows.steps ? t + 1 : -1;
    return t - 1;
  }
  // How many of step t's sequences continue from `previous(t)`; the others start from the initial
  // state. They come first.
  RNNFAST_INLINE Index continued(Index t) const {
    const Index before = previous(t);
    return before < 0 ? 0 : min_index(rows.count(t), rows.count(before));
  }
};

// How threads share a time step: by hidden tiles (each sees every row) or by sequences (each sees
// every tile). Sharing by sequences needs no barrier in a step, but every thread then streams all
// recurrent weights each step. It pays off once each thread has about a dozen rows, or more of them
// where the weights do not fit its cache.
struct Partition {
  Range tiles, batch;
  bool by_tiles;
};
inline constexpr Index kCacheBytes = 2 << 20;  // of a core
template <class L>
RNNFAST_INLINE Partition partition(Index hidden, Index batch, int thread, int threads) {
  const Index tiles = L::tiles(hidden), bytes = L::recurrent_bytes(hidden);
  if (threads > 1 && batch * kCacheBytes >= 12 * threads * max_index(kCacheBytes, bytes))
    return {{0, tiles}, share(batch, thread, threads), false};
  return {share(tiles, thread, threads), {0, batch}, true};
}

// How many sequences are active in a step of a chunk, on average.
RNNFAST_INLINE Index active_rows(const Chunk& chunk) {
  const Index steps = max_index(chunk.first, chunk.last) - min_index(chunk.first, chunk.last) + 1;
  return chunk.rows / steps;
}

// The sequences of one thread in a chunk such that each thread has about as many rows of it. Where
// lengths differ, sequences change their threads from chunk to chunk, which then meet in between.
RNNFAST_INLINE Range share_rows(const PackedRows& rows, const Chunk& chunk, int thread,
                                int threads) {
  Range mine = share(active_rows(chunk), thread, threads);
  if (thread == threads - 1) mine.end = rows.batch;
  return mine;
}

// Packs rows of `from` (gates * H, depth) into panels [tile][panel][step of the depth][columns].
template <class L, class P>
void pack_weights(const RealOf<P>* from, Index hidden, Index depth, Span gates, Range tiles,
                  RealOf<P>* to) {
  const Index steps = Format<P>::steps(depth);
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    L::for_panels(gates, L::tile_vectors(hidden, tile), [&](int column, int vectors) {
      RealOf<P>* panel = to + steps * (tile * L::kGateRow + L::W * column);
      for (int v = 0; v < vectors; ++v) {
        const Index unit = (tile * L::kTileVectors + (column + v) % L::kTileVectors) * L::W;
        const Index gate = (column + v) / L::kTileVectors;
        transpose_in<P>(from + (gate * hidden + unit) * depth, depth, L::lanes(hidden, unit / L::W),
                        depth, panel + v * L::W, vectors * L::W);
      }
    });
}

// Packs row vectors (count, H) into [tile][count][unit], zeros in the padding and for null.
template <class L, class T>
void pack_units(const T* from, Index hidden, int count, Range tiles, T* to) {
  for (Index tile = tiles.begin; tile < tiles.end; ++tile) {
    const Index unit = tile * L::kUnits;
    pad_rows<T>(from ? from + unit : nullptr, hidden, count, hidden - unit,
                to + tile * count * L::kUnits, L::kUnits);
  }
}

// What the forward pass reads in place of a layer's weights in one direction.
template <class L, class P>
struct PackedLayer {
  using T = RealOf<P>;
  T *w_ih, *w_hh;        // panels; none if the weights are read as they lie
  T *bias_ih, *bias_hh;  // [tile][gate][unit]
  T* params;             // [tile][param][unit]
  Index size;

  PackedLayer(T* base, const LayerSize& s) {
    Carver<T> c{base};
    const Index tiles = L::tiles(s.hidden_size), row = s.direct ? 0 : tiles * L::kGateRow;
    w_ih = c.take(Format<P>::steps(s.input_size) * row);
    w_hh = c.take(Format<P>::steps(s.hidden_size) * row);
    bias_ih = c.take(tiles * L::kGateRow);
    bias_hh = c.take(tiles * L::kGateRow);
    params = c.take(tiles * L::kParamRow);
    size = c.used;
  }

  void pack(const CellWeights<const T>& w, const LayerSize& s, Range tiles) const {
    const Index H = s.hidden_size;
    pack_units<L>(w.bias_ih, H, L::info.gates, tiles, bias_ih);
    pack_units<L>(w.bias_hh, H, L::info.gates, tiles, bias_hh);
    if constexpr (L::info.params) pack_units<L>(w.weight_channel, H, L::info.params, tiles, params);
    if (s.direct) return;
    pack_weights<L, P>(w.weight_ih, H, s.input_size, L::kGates, tiles, w_ih);
    for (int p = 0; p < L::products.size; ++p)
      pack_weights<L, P>(w.weight_hh, H, H, L::products.item[p].gates, tiles, w_hh);
  }
};

// h0 in packed order, (B, H): the units of some tiles; zeros for null.
template <class L, class T>
void load_h0(const T* from, const PackedRows& rows, Index hidden, Range tiles, T* to) {
  const Index unit = tiles.begin * L::kUnits;
  const Index count = min_index(hidden, tiles.end * L::kUnits) - unit;
  for (Index r = 0; r < rows.batch; ++r)
    for (Index j = unit; j < unit + count; ++j)
      to[r * hidden + j] = from ? from[rows.order[r] * hidden + j] : T(0);
}

// Sequence r's row in the (B, H) arrays of the caller, spread over tiles [tile][B][unit] and back.
template <class L, class T>
void load_state(const T* from, const PackedRows& rows, Index hidden, Range tiles, T* to,
                Index tile_stride) {
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    for (Index r = 0; r < rows.batch; ++r) {
      const Index unit = tile * L::kUnits;
      pad_rows<T>(from ? from + rows.order[r] * hidden + unit : nullptr, hidden, 1, hidden - unit,
                  to + tile * tile_stride + r * L::kUnits, L::kUnits);
    }
}
template <class L, class T>
RNNFAST_INLINE void store_state(const T* from, Index tile, Index row, const PackedRows& rows,
                                Index hidden, T* to) {
  for (int v = 0; v < L::tile_vectors(hidden, tile); ++v) {
    const Index vector = tile * L::kTileVectors + v;
    Vec<T>::load(from + v * L::W)
        .store(to + rows.order[row] * hidden + vector * L::W, L::lanes(hidden, vector));
  }
}

}  // namespace RNNFAST_ISA_NAMESPACE
