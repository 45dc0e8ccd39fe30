#pragma once
// The gradients of weights and biases: for each chunk of rows, [x | 1] and the operands of the
// recurrent products, transposed, times the gate gradients. The column of ones yields the bias
// gradient. Columns whose gradient nobody wants are left out.
//
// The sums are kept in panels, [tile][panel][depth][columns], and converted to PyTorch's layout at
// the end. The order of summation depends only on the shapes, never on the threads.

#include "cpu/backward_workspace.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class WeightGradient {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  static constexpr int W = kLanes<T>;

 public:
  WeightGradient(const Layout<T>& layout, const BackwardArgs<T>& args, const Team& team, int thread,
                 const BackwardWorkspace<P>& work, const ProjectionGradient<P>& projection)
      : l_(layout),
        args_(args),
        team_(team),
        thread_(thread),
        work_(work),
        projection_(projection),
        rows_(args.size.rows),
        I_(args.size.input_size),
        H_(args.size.hidden_size),
        R_(args.size.h_size()),
        tiles_(l_.tiles(H_)),
        share_(share(tiles_, thread, team.size)),
        empty_(args.part.first) {}

  // Adds a chunk whose gate gradients are in dh (recurrent) and dx (input).
  void accumulate(const Chunk& chunk, const T* dh, const T* dx) {
    if (chunk.rows == 0) return;  // no sequence reaches these steps
    for (int side = 0; side < sides(); ++side) pack(side, chunk);
    if (projects()) projection_.pack_chunk(chunk.rows);
    const T *dh_steps = dh, *dx_steps = dx;  // for a real type, rows are steps
    if constexpr (F::kRounds) {
      join_rows(chunk, dh, work_.dh_steps);
      if (l_.split) join_rows(chunk, dx, work_.dx_steps);
      dh_steps = work_.dh_steps, dx_steps = work_.dx_steps;
    }
    team_.barrier();
    for (int side = 0; side < sides(); ++side)
      multiply_side(side, chunk, side ? dh_steps : dx_steps);
    if (args_.indices && args_.dweights.weight_ih) scatter_rows(chunk, dx);
    if (args_.dweights.weight_channel) sum_params(chunk);
    if (projects()) projection_.add_chunk(chunk.rows, empty_);
    empty_ = false;
    // dh is double-buffered, so the next chunk can start right away. dx, dparams, the operands and
    // the projection's buffers are not: wait.
    const bool drops = args_.size.noise.drops();
    if (l_.split || l_.values > 0 || l_.info.params > 0 || drops || projection_) team_.barrier();
  }

  // Writes the sums to the caller's gradients that are wanted, or adds them.
  void finish() const {
    if (projects()) projection_.finish(empty_);
    if (empty_) clear();
    const CellWeights<T>& to = args_.dweights;
    const RowBlocks &input = l_.info.input, &recurrent = l_.info.recurrent;
    unpack_matrix(work_.dw_ih, depth(0), I_, input, l_.input_gates, to.weight_ih);
    unpack_bias(work_.dw_ih, depth(0), I_, input, l_.input_gates, to.bias_ih);
    for (int p = 0; p < l_.products.size; ++p) {
      const Span gates = l_.products.item[p].gates;
      unpack_matrix(work_.dw_hh, depth(1), R_, recurrent, gates, to.weight_hh);
      if (l_.own_bias_hh) unpack_bias(work_.dw_hh, depth(1), R_, recurrent, gates, to.bias_hh);
    }
    if (!l_.own_bias_hh)
      unpack_bias(work_.dw_ih, depth(0), I_, recurrent, l_.input_gates, to.bias_hh);
    if (to.weight_channel) unpack_params(to.weight_channel);
  }

 private:
  // Side 0 is [x | 1]. Side p + 1 is the operand of product p, with a column of ones if bias_hh is
  // summed separately.
  int sides() const { return 1 + l_.products.size; }
  // Lanes of a row's gate gradients.
  Index lane_row() const { return F::operand_lanes(l_.gate_row); }

  // The columns of a side whose gradients are wanted: those of the matrix, and that of ones.
  Index matrix_columns(int side) const {
    if (side) return args_.dweights.weight_hh ? R_ : 0;
    return args_.dweights.weight_ih && !args_.indices ? I_ : 0;
  }
  bool has_ones(int side) const {
    const CellWeights<T>& to = args_.dweights;
    if (side) return l_.own_bias_hh && to.bias_hh;
    return to.bias_ih || (!l_.own_bias_hh && to.bias_hh);
  }
  Index columns(int side) const { return matrix_columns(side) + has_ones(side); }
  // The depth of the side's sums, and the depth at which its columns start.
  Index depth(int side) const { return side ? R_ + work_.bias_hh : I_ + 1; }
  Index first_depth(int side) const { return matrix_columns(side) ? 0 : side ? R_ : I_; }
  bool projects() const { return args_.dweights.weight_hr != nullptr; }

  // Calls f(source, stride, rows, first row in the chunk) for each contiguous run of a side's rows.
  template <class F>
  RNNFAST_INLINE void for_runs(int side, const Chunk& chunk, F&& f) const {
    if (side == 0) {
      if (args_.x) f(args_.x + chunk.row * args_.x_stride, args_.x_stride, chunk.rows, Index(0));
      return;
    }
    const Operand operand = l_.products.item[side - 1].operand;
    if (operand.from == Operand::kValue)
      return f((const T*)work_.values[operand.index], H_, chunk.rows, Index(0));
    if (args_.size.noise.drops()) return f((const T*)work_.h, H_, chunk.rows, Index(0));
    const StepOrder order{rows_, args_.size.reverse};
    const T* run = nullptr;  // adjacent pieces are joined into one run
    Index stride = 0, count = 0, at = 0;
    auto add = [&](const T* from, Index from_stride, Index rows) {
      if (rows == 0) return;
      if (run && from_stride == stride && from == run + count * stride) {
        count += rows;
        return;
      }
      if (run) f(run, stride, count, at);
      at += count;
      run = from, stride = from_stride, count = rows;
    };
    const Index low = min_index(chunk.first, chunk.last);
    for (Index t = low; t <= max_index(chunk.first, chunk.last); ++t) {
      const Index continuing = order.continued(t), before = order.previous(t);
      if (continuing)
        add(args_.y + rows_.offset[before] * args_.y_stride, args_.y_stride, continuing);
      add(work_.h0 + continuing * R_, R_, rows_.count(t) - continuing);
    }
    if (run) f(run, stride, count, at);
  }

  // Packs this thread's share of a side's blocks of columns.
  void pack(int side, const Chunk& chunk) const {
    const Index blocks = (columns(side) + l_.block_rows - 1) / l_.block_rows;
    const Range mine = share(blocks, thread_, team_.size);
    for (Index b = mine.begin; b < mine.end; ++b) {
      const Index first = b * l_.block_rows;
      const int width = int(min_index(l_.block_rows, columns(side) - first));
      const int copied = int(max_index(0, min_index(width, matrix_columns(side) - first)));
      T* to = work_.packed[side] + first * F::operand_lanes(chunk.rows);
      if (copied)
        for_runs(side, chunk, [&](const T* from, Index stride, Index rows, Index at) {
          if (copied == width) return pack_columns<P>(from + first, stride, rows, width, to, at);
          for (Index r = 0; r < rows; ++r)
            for (int j = 0; j < copied; ++j)
              F::put(from[first + r * stride + j], to, at + r, j, width);
        });
      if (copied < width)
        for (Index r = 0; r < chunk.rows; ++r) F::put(T(1), to, r, width - 1, width);
      pad_columns<P>(chunk.rows, width, to);
    }
  }

  // Converts the chunk's gate gradients from rows of operands to steps of panels, for this thread's
  // tiles.
  void join_rows(const Chunk& chunk, const T* from, T* to) const {
    const V zero(0);
    for (Index tile = share_.begin; tile < share_.end; ++tile)
      for (Index r = 0; r < chunk.rows; r += F::kStep) {
        const T* row = from + (tile * work_.chunk_rows + r) * lane_row();
        T* step = to + (tile * F::steps(work_.chunk_rows) + r / F::kStep) * l_.gate_row;
        for (int i = 0; i < l_.gate_row; i += W) {
          const T* second = row + lane_row() + F::operand_lanes(i);
          const V pair[2] = {F::load(row + F::operand_lanes(i)),
                             r + 1 < chunk.rows ? F::load(second) : zero};
          F::join(pair).store(step + i);
        }
      }
  }

  // Multiplies a side's blocks in groups small enough for their packed columns to stay in the cache
  // while all tiles are multiplied. The team shares the pairs of tile and block, in that order.
  void multiply_side(int side, const Chunk& chunk, const T* gradient) const {
    const Index blocks = blocks_of(columns(side), l_.block_rows);
    const Range mine = share(tiles_ * blocks, thread_, team_.size);
    for_blocks(blocks, max_index(1, blocking().gradient_values / (chunk.rows * l_.block_rows)),
               [&](Index first, Index count) {
                 const Index begin = max_index(mine.begin, tiles_ * first);
                 const Index end = min_index(mine.end, tiles_ * (first + count));
                 for (Index item = begin; item < end;) {
                   const Index at = item - tiles_ * first;
                   const Index next = min_index(end, item + count - at % count);
                   const Range part{first + at % count, first + at % count + next - item};
                   multiply_tile(side, at / count, part, chunk, gradient, next == end);
                   item = next;
                 }
               });
  }

  // Multiplies some blocks of a side by one tile and prefetches the next tile's gradients and sums
  // meanwhile.
  void multiply_tile(int side, Index tile, Range blocks, const Chunk& chunk, const T* gradient,
                     bool last) const {
    const Span of = side ? l_.products.item[side - 1].gates : l_.input_gates;
    T* sums = (side ? work_.dw_hh : work_.dw_ih) + depth(side) * tile * l_.gate_row;
    const Index deep = F::steps(chunk.rows), gates = F::steps(work_.chunk_rows) * l_.gate_row;
    const T* b = gradient + tile * gates;
    const Index columns = (blocks.end - blocks.begin) * l_.block_rows;
    const Index steps = deep * l_.panels(of) * (blocks.end - blocks.begin) / 2 + 1;
    const T* next_sums = sums + depth(side) * (l_.gate_row + of.first * l_.units) +
                         (first_depth(side) + blocks.begin * l_.block_rows) * l_.units;
    AheadShares<T> ahead[2] = {{last ? nullptr : b + gates, deep * l_.gate_row, steps},
                               {last ? nullptr : next_sums, columns * of.count * l_.units, steps}};
    for_blocks(deep, kGradientDepth / F::kStep, [&](Index row, Index rows) {
      l_.for_panels(of, l_.used_vectors(H_, tile), [&](int column, int vectors) {
        T* panel = sums + depth(side) * W * column;
        for (Index i = blocks.begin; i < blocks.end; ++i)
          multiply_block(side, i, chunk, row, rows, b + W * column, panel, vectors,
                         ahead[i & 1].take(rows));
      });
    });
  }

  // Multiplies one block of columns, for steps [row, row + rows) of the chunk's rows.
  void multiply_block(int side, Index block, const Chunk& chunk, Index row, Index rows, const T* b,
                      T* panel, int vectors, Ahead<T> ahead) const {
    const Index first = block * l_.block_rows;
    const int width = int(min_index(l_.block_rows, columns(side) - first));
    kBlocks<P, true>.fn[vectors - 1][width - 1](
        {.a = work_.packed[side] + first * F::operand_lanes(chunk.rows) + row * F::kParts * width,
         .lda = 0,
         .b = b + row * l_.gate_row,
         .ldb = l_.gate_row,
         .depth = rows,
         .c = panel + (first_depth(side) + first) * vectors * W,
         .ldc = vectors * W,
         .columns = vectors * W,
         .add = !empty_ || row > 0,
         .ahead = ahead});
  }

  // Sums the gradient of weight_ih for an input of indices: each row's gate gradients are added at
  // the depth that its index names.
  void scatter_rows(const Chunk& chunk, const T* dx) const {
    for (Index tile = share_.begin; tile < share_.end; ++tile)
      l_.for_panels(l_.input_gates, l_.used_vectors(H_, tile), [&](int column, int vectors) {
        T* panel = work_.dw_ih + tile * depth(0) * l_.gate_row + depth(0) * W * column;
        if (empty_)
          for (Index i = 0; i < I_ * vectors; ++i) V(0).store(panel + i * W);
        for (Index r = 0; r < chunk.rows; ++r) {
          const T* gates =
              dx + (tile * work_.chunk_rows + r) * lane_row() + F::operand_lanes(column * W);
          T* sum = panel + args_.indices[chunk.row + r] * vectors * W;
          for (int v = 0; v < vectors; ++v)
            (V::load(sum + v * W) + F::load(gates + F::operand_lanes(v * W))).store(sum + v * W);
        }
      });
  }

  void sum_params(const Chunk& chunk) const {
    for (Index tile = share_.begin; tile < share_.end; ++tile)
      for (int i = 0; i < l_.param_row; i += W) {
        T* to = work_.dw_params + tile * l_.param_row + i;
        V total = empty_ ? V(0) : V::load(to);
        for_blocks(chunk.rows, kGradientDepth, [&](Index row, Index rows) {
          V sum(0);
          for (Index r = row; r < row + rows; ++r)
            sum = sum + V::load(work_.dparams + (tile * work_.chunk_rows + r) * l_.param_row + i);
          total = total + sum;
        });
        total.store(to);
      }
  }

  // Zeros the sums of this thread's tiles, as no chunk has written them.
  void clear() const {
    const auto zero = [&](T* sums, Index tile_size) {
      for (Index i = share_.begin * tile_size; i < share_.end * tile_size; ++i) sums[i] = T(0);
    };
    zero(work_.dw_ih, depth(0) * l_.gate_row);
    zero(work_.dw_hh, depth(1) * l_.gate_row);
    zero(work_.dw_params, l_.param_row);
  }

  // Calls f(sums at depth 0, their stride, first row of the gradient, number of rows) for each
  // vector of units of the given gates, if they have a row block.
  template <class F>
  RNNFAST_INLINE void for_vectors(T* sums, Index depth, const RowBlocks& blocks, Span gates,
                                  F&& f) const {
    for (Index tile = share_.begin; tile < share_.end; ++tile)
      l_.for_panels(gates, l_.used_vectors(H_, tile), [&](int column, int vectors) {
        const T* panel = sums + depth * (tile * l_.gate_row + W * column);
        for (int v = 0; v < vectors; ++v) {
          const Index block = blocks.of(int(l_.tile_of(column + v)));
          const Index vector = tile * l_.tile_vectors + l_.place_of(column + v);
          if (block >= 0)
            f(panel + v * W, vectors * W, block * H_ + vector * W, l_.lanes(H_, vector));
        }
      });
  }

  RNNFAST_INLINE void write(V sum, T* to, int lanes) const {
    if (args_.add_dweights) sum = sum + V::load(to, lanes);
    sum.store(to, lanes);
  }

  // Writes a gradient's row blocks, (gates * H, columns), from the first `columns` rows of the
  // sums' depth, unless `to` is null.
  void unpack_matrix(T* sums, Index depth, Index columns, const RowBlocks& blocks, Span gates,
                     T* to) const {
    if (!to) return;
    for_vectors(sums, depth, blocks, gates, [&](const T* from, Index stride, Index row, int lanes) {
      transpose_out(from, stride, lanes, columns, to + row * columns, columns, args_.add_dweights);
    });
  }
  // Writes a bias gradient from row `at` of the depth, unless `to` is null.
  void unpack_bias(T* sums, Index depth, Index at, const RowBlocks& blocks, Span gates,
                   T* to) const {
    if (!to) return;
    for_vectors(sums, depth, blocks, gates, [&](const T* from, Index stride, Index row, int lanes) {
      write(V::load(from + at * stride), to + row, lanes);
    });
  }

  void unpack_params(T* to) const {
    for (Index tile = share_.begin; tile < share_.end; ++tile)
      for (int p = 0; p < l_.info.params; ++p)
        for (int v = 0; v < l_.used_vectors(H_, tile); ++v) {
          const Index vector = tile * l_.tile_vectors + v;
          write(V::load(work_.dw_params + tile * l_.param_row + p * l_.units + v * W),
                to + p * H_ + vector * W, l_.lanes(H_, vector));
        }
  }

  const Layout<T>& l_;
  const BackwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const BackwardWorkspace<P>& work_;
  const ProjectionGradient<P>& projection_;
  const PackedRows& rows_;
  const Index I_, H_, R_, tiles_;  // R_: columns of h
  const Range share_;
  bool empty_;  // no chunk has been added yet
};

}  // namespace RNNFAST_ISA_NAMESPACE
