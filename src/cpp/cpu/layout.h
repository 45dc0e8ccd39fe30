#pragma once
// The layout of a cell's weights, gates and states in memory, and how threads share the work.
//
// Hidden units are handled in tiles. A tile is one vector of units if every product of the cell has
// at least three gates, as these then fill a panel; otherwise it is four vectors, so that each gate
// fills a panel of its own. Within a tile the columns are [gate][vector][lane].

#include "core/blocking.h"
#include "core/carver.h"
#include "cpu/projection.h"

namespace RNNFAST_ISA_NAMESPACE {

inline constexpr int kAllProducts = kMaxGates;  // at most, as no two products share a gate

// The recurrent products in the order of their stages, and also grouped by the stage that computes
// their operand: group 0 multiplies operands made from the states before the step, group k + 1
// those that stage k computes.
struct ProductList {
  Product item[kAllProducts] = {};
  int first[kMaxStages + 1] = {};  // of each stage, then the end of the last
  int size = 0;
  int made[kAllProducts] = {};     // the products, by group
  int group[kMaxStages + 2] = {};  // where each begins, then the end of the last

  // The number of products of the stage that has the most.
  constexpr int most() const {
    int most = 0;
    for (int k = 0; k < kMaxStages; ++k)
      if (first[k + 1] - first[k] > most) most = first[k + 1] - first[k];
    return most;
  }
};

constexpr ProductList products_of(const CellInfo& info) {
  ProductList list;
  for (int k = 0; k < info.size(); ++k) {
    list.first[k] = list.size;
    for (int p = 0; p < info.stages[k].size(); ++p)
      list.item[list.size++] = info.stages[k].products[p];
  }
  list.first[info.size()] = list.size;
  const auto group_of = [&](Operand operand) {
    if (operand.from == Operand::kState || operand.index < info.opening_values()) return 0;
    int stage = info.first();
    while (operand.index >= info.first_value(stage + 1)) ++stage;
    return stage + 1;
  };
  for (int g = 0, n = 0; g <= info.size(); ++g) {
    list.group[g] = n;
    for (int p = 0; p < list.size; ++p)
      if (group_of(list.item[p].operand) == g) list.made[n++] = p;
    list.group[g + 1] = n;
  }
  return list;
}

// The properties of a cell that the drivers need, computed once.
template <class T>
struct Layout {
  static constexpr int W = kLanes<T>;

  CellInfo info;
  ProductList products;
  Span input_gates, reading_gates;  // with rows of weight_ih; those that read the input itself
  int first, last;                  // stages of a step
  int values, opening_values;
  bool split, keeps_gates;
  bool own_bias_hh;         // whether bias_hh's gradient is summed separately from bias_ih's
  int tile_shift;           // a tile has 2^tile_shift vectors, so that divisions by it are shifts
  int tile_vectors, units;  // of a tile
  int gate_row, slot_row, param_row, seen_row;  // values per row of a tile
  int extra_states;                             // beyond h
  int block_rows;                               // so that one block serves every panel of the cell
  // Per stage: how many of the next tile's weights to prefetch for each panel and step of the
  // depth.
  Index stage_fetch[kMaxStages] = {};

  constexpr explicit Layout(const CellInfo& cell)
      : info(cell),
        products(products_of(cell)),
        input_gates{0, cell.input_gates()},
        reading_gates{cell.input_gates(), cell.input_parts() - cell.input_gates()},
        first(cell.first()),
        last(cell.last()),
        values(cell.values()),
        opening_values(cell.opening_values()),
        split(cell.split()),
        keeps_gates(cell.saved() > 0),
        own_bias_hh(split || has_gates_without_input()),
        tile_shift(has_narrow_products() ? kMaxShift : 0),
        tile_vectors(1 << tile_shift),
        units(tile_vectors * W),
        gate_row(cell.gates * units),
        slot_row(cell.slots() * units),
        param_row(cell.params * units),
        seen_row(cell.seen() * units),
        extra_states(cell.states - 1),
        block_rows(kBlockRows[panel_vectors()]) {
    for (int k = first; k <= last; ++k) {
      int count = 0, gates = 0;
      for (int p = products.first[k]; p < products.first[k + 1]; ++p) {
        count += panels(products.item[p].gates);
        gates += products.item[p].gates.count;
      }
      if (count) stage_fetch[k] = (gates * units + count - 1) / count;
    }
  }

  RNNFAST_INLINE constexpr Index vectors(Index hidden) const { return (hidden + W - 1) / W; }
  RNNFAST_INLINE constexpr Index tiles(Index hidden) const {
    return (vectors(hidden) + tile_vectors - 1) >> tile_shift;
  }
  // The tile that contains a vector of units, and the vector's index in it. Applied to a tile's
  // column of vectors, they return its gate and the vector's index in the gate.
  RNNFAST_INLINE constexpr Index tile_of(Index vector) const { return vector >> tile_shift; }
  RNNFAST_INLINE constexpr Index place_of(Index vector) const {
    return vector & (tile_vectors - 1);
  }
  RNNFAST_INLINE Index recurrent_bytes(const LayerSize& s) const {
    return info.recurrent_gates() * s.hidden_size * s.h_size() * Index(sizeof(T));
  }
  // The number of vectors of a tile that have units.
  RNNFAST_INLINE constexpr int used_vectors(Index hidden, Index tile) const {
    return int(min_index(tile_vectors, vectors(hidden) - tile * tile_vectors));
  }
  static RNNFAST_INLINE constexpr int lanes(Index hidden, Index vector) {
    return int(max_index(0, min_index(W, hidden - vector * W)));
  }

  // Calls f(first column, vectors) for each panel of some gates.
  template <class F>
  RNNFAST_INLINE void for_panels(Span some, int vectors, F&& f) const {
    if (tile_vectors == 1) {
      for_blocks(some.count, kMaxVectors,
                 [&](Index first, Index count) { f(int(some.first + first), int(count)); });
    } else {
      for (int g = some.first; g < some.end(); ++g) f(g * tile_vectors, vectors);
    }
  }
  // The number of panels that some gates take in a tile.
  RNNFAST_INLINE constexpr int panels(Span some) const {
    return tile_vectors == 1 ? (some.count + kMaxVectors - 1) / kMaxVectors : some.count;
  }

 private:
  static constexpr int kMaxShift = 2;
  static_assert(1 << kMaxShift == kMaxVectors);

  constexpr bool has_narrow_products() const {
    for (int p = 0; p < products.size; ++p)
      if (products.item[p].gates.count < 3) return true;
    return products.size == 0 && input_gates.count < 3;
  }
  constexpr bool has_gates_without_input() const {
    for (int gate = 0; gate < info.gates; ++gate)
      if (info.recurrent.of(gate) >= 0 && info.input.of(gate) < 0) return true;
    return false;
  }
  // The number of vectors of the widest panel.
  constexpr int panel_vectors() const {
    if (tile_vectors > 1) return kMaxVectors;
    int widest = widest_panel(input_gates.count);
    for (int p = 0; p < products.size; ++p) {
      const int vectors = widest_panel(products.item[p].gates.count);
      widest = vectors > widest ? vectors : widest;
    }
    return widest;
  }
  constexpr int widest_panel(int gates) const {
    const int count = panels({0, gates});
    return (gates + count - 1) / count;
  }
};

// Rows of gates that wait for one weight-gradient product: enough to fill the kernel, few enough to
// stay in the cache. Sums depend on it, so it is the same on every machine.
inline constexpr Index kBackwardChunkRows = 512;
inline constexpr Index kDepthBlock = 512;  // depth of the input product per pass over the rows
inline constexpr Index kTransposedDepth = 1024;  // the same for transposed products

// Rows that a weight gradient sums in registers: few, so that the sums' rounding errors stay small
// and the gates stay in the L1 cache.
inline constexpr Index kGradientDepth = 128;

// The steps of one chunk. Steps are processed in time order, or in the opposite order if `reverse`.
struct Chunk {
  Index first, last;  // first and last step processed, inclusive
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

// The chunks of a layer that takes its input in them.
struct ChunkFlow {
  const Flow* flow;  // or null
  Index first_step;  // the number of the layer's step 0 in the call

  RNNFAST_INLINE Index rows(Index target) const {
    return flow ? min_index(target, flow->rows) : target;
  }
  RNNFAST_INLINE void take(const Chunk& chunk) const {
    if (flow) flow->take(flow->context, begin(chunk), end(chunk));
  }
  RNNFAST_INLINE void give(const Chunk& chunk) const {
    if (flow) flow->give(flow->context, begin(chunk), end(chunk));
  }

 private:
  Index begin(const Chunk& c) const { return first_step + min_index(c.first, c.last); }
  Index end(const Chunk& c) const { return first_step + max_index(c.first, c.last) + 1; }
};

// The order in which a direction processes the steps, and which sequences continue from one step to
// the next.
struct StepOrder {
  const PackedRows& rows;
  bool reverse;

  // The step processed before t, or -1 for the first.
  RNNFAST_INLINE Index previous(Index t) const {
    if (reverse) return t + 1 < rows.steps ? t + 1 : -1;
    return t - 1;
  }
  // How many of step t's sequences continue from `previous(t)`. They come first; the others start
  // from the initial state.
  RNNFAST_INLINE Index continued(Index t) const {
    const Index before = previous(t);
    return before < 0 ? 0 : min_index(rows.count(t), rows.count(before));
  }
};

// How threads share a time step: by hidden tiles (each sees every row) or by sequences (each sees
// every tile). Sharing by sequences needs no barrier in a step, but every thread then streams all
// recurrent weights each step. It pays off once each thread has about a dozen rows, or more if the
// weights exceed its cache.
struct Partition {
  Range tiles, batch;
  bool by_tiles;
};
template <class T>
RNNFAST_INLINE Partition partition(const Layout<T>& l, const LayerSize& s, Index batch, int thread,
                                   int threads) {
  const Index tiles = l.tiles(s.hidden_size), bytes = l.recurrent_bytes(s);
  const Index cache = blocking().cache_bytes;
  if (threads > 1 && batch * cache >= 12 * threads * max_index(cache, bytes))
    return {{0, tiles}, share(batch, thread, threads), false};
  return {share(tiles, thread, threads), {0, batch}, true};
}

// How many sequences are active in a step of a chunk, on average.
RNNFAST_INLINE Index active_rows(const Chunk& chunk) {
  const Index steps = max_index(chunk.first, chunk.last) - min_index(chunk.first, chunk.last) + 1;
  return chunk.rows / steps;
}

// This thread's sequences in a chunk, chosen so that every thread has about as many of its rows. If
// lengths differ, a sequence may move to another thread at the next chunk, so the threads must meet
// in between.
RNNFAST_INLINE Range share_rows(const PackedRows& rows, const Chunk& chunk, int thread,
                                int threads) {
  Range mine = share(active_rows(chunk), thread, threads);
  if (thread == threads - 1) mine.end = rows.batch;
  return mine;
}

// Packs the row blocks of some gates of `from` (blocks * H, depth) into panels
// [tile][panel][row of the panel][columns].
template <class P>
void pack_weights(const Layout<RealOf<P>>& l, const RealOf<P>* from, const RowBlocks& blocks,
                  Index hidden, Index depth, Span gates, Range tiles, RealOf<P>* to) {
  const Index rows = panel_rows<P>(depth);
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    l.for_panels(gates, l.used_vectors(hidden, tile), [&](int column, int vectors) {
      RealOf<P>* panel = to + rows * (tile * l.gate_row + l.W * column);
      for (int v = 0; v < vectors; ++v) {
        const Index unit = (tile * l.tile_vectors + l.place_of(column + v)) * l.W;
        const Index block = blocks.of(int(l.tile_of(column + v)));
        fill_columns<P>(from + (block * hidden + unit) * depth, depth, l.lanes(hidden, unit / l.W),
                        depth, panel + v * l.W, vectors * l.W);
      }
    });
}

// Packs row vectors (count, H) into [tile][count][unit], with zeros in the padding and for null.
template <class T>
void pack_units(const Layout<T>& l, const T* from, Index hidden, int count, Range tiles, T* to) {
  for (Index tile = tiles.begin; tile < tiles.end; ++tile) {
    const Index unit = tile * l.units;
    pad_rows<T>(from ? from + unit : nullptr, hidden, count, hidden - unit,
                to + tile * count * l.units, l.units);
  }
}

// Packs a bias, (blocks * H,) or null, into [tile][gate][unit]; with 0 for gates without one.
template <class T>
void pack_bias(const Layout<T>& l, const T* from, const RowBlocks& blocks, Index hidden,
               Range tiles, T* to) {
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    for (int gate = 0; gate < l.info.gates; ++gate) {
      const Index block = blocks.of(gate), unit = tile * l.units;
      pad_rows<T>(from && block >= 0 ? from + block * hidden + unit : nullptr, 0, 1, hidden - unit,
                  to + tile * l.gate_row + gate * l.units, l.units);
    }
}

// The packed copy of the weights of one layer and direction that the forward pass reads.
template <class P>
struct PackedLayer {
  using T = RealOf<P>;
  T *w_ih, *w_hh;        // panels; empty if the weights are read in place
  T *bias_ih, *bias_hh;  // [tile][gate][unit]
  T* params;             // [tile][param][unit]
  T* w_hr;               // panels of the projection
  Index size;

  const Layout<T>& l;

  PackedLayer(const Layout<T>& layout, T* base, const LayerSize& s) : l(layout) {
    Carver<T> c{base};
    const Index tiles = l.tiles(s.hidden_size), row = s.direct ? 0 : tiles * l.gate_row;
    w_ih = c.take(panel_rows<P>(s.input_size) * row);
    w_hh = c.take(panel_rows<P>(s.h_size()) * row);
    bias_ih = c.take(tiles * l.gate_row);
    bias_hh = c.take(tiles * l.gate_row);
    params = c.take(tiles * l.param_row);
    w_hr = c.take(Projection<P>(s, nullptr).size());
    size = c.used;
  }

  // Packs this thread's share, of weight_hh only if it will be read.
  void pack(const CellWeights<const T>& w, const LayerSize& s, bool reads_hh, const Team& team,
            int thread) const {
    const Index H = s.hidden_size;
    const Range tiles = share(l.tiles(H), thread, team.size);
    pack_bias(l, w.bias_ih, l.info.input, H, tiles, bias_ih);
    pack_bias(l, w.bias_hh, l.info.recurrent, H, tiles, bias_hh);
    if (l.info.params) pack_units(l, w.weight_channel, H, l.info.params, tiles, params);
    if (s.direct) return;
    pack_weights<P>(l, w.weight_ih, l.info.input, H, s.input_size, l.input_gates, tiles, w_ih);
    for (int p = 0; reads_hh && p < l.products.size; ++p)
      pack_weights<P>(l, w.weight_hh, l.info.recurrent, H, s.h_size(), l.products.item[p].gates,
                      tiles, w_hh);
    Projection<P>(s, w_hr).pack(w.weight_hr, team, thread);
  }
};

// Copies the columns of some tiles of h0 in packed order, (B, R); null stands for zeros. `hidden`
// is R.
template <class T>
void load_h0(const Layout<T>& l, const T* from, const PackedRows& rows, Index hidden, Range tiles,
             T* to) {
  const Index unit = tiles.begin * l.units;
  const Index count = min_index(hidden, tiles.end * l.units) - unit;
  for (Index r = 0; r < rows.batch; ++r)
    for (Index j = unit; j < unit + count; ++j)
      to[r * hidden + j] = from ? from[rows.order[r] * hidden + j] : T(0);
}

// Copies a state from the caller's (B, H) array to tiles, [tile][B][unit], in packed order;
// store_state copies one sequence's row of a tile back.
template <class T>
void load_state(const Layout<T>& l, const T* from, const PackedRows& rows, Index hidden,
                Range tiles, T* to, Index tile_stride) {
  for (Index tile = tiles.begin; tile < tiles.end; ++tile)
    for (Index r = 0; r < rows.batch; ++r) {
      const Index unit = tile * l.units;
      pad_rows<T>(from ? from + rows.order[r] * hidden + unit : nullptr, hidden, 1, hidden - unit,
                  to + tile * tile_stride + r * l.units, l.units);
    }
}
template <class T>
RNNFAST_INLINE void store_state(const Layout<T>& l, const T* from, Index tile, Index row,
                                const PackedRows& rows, Index hidden, T* to) {
  for (int v = 0; v < l.used_vectors(hidden, tile); ++v) {
    const Index vector = tile * l.tile_vectors + v;
    Vec<T>::load(from + v * l.W)
        .store(to + rows.order[row] * hidden + vector * l.W, l.lanes(hidden, vector));
  }
}

}  // namespace RNNFAST_ISA_NAMESPACE
