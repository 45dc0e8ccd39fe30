#pragma once
// The input product of the forward pass: x W^T + bias into the gates, for numbers and for indices.

#include "cpu/direct.h"
#include "cpu/forward_workspace.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class InputProduct {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  static constexpr int W = kLanes<T>;

 public:
  InputProduct(const Layout<T>& layout, const ForwardArgs<T>& args, const ForwardWorkspace<P>& work,
               const Team& team, int thread)
      : l_(layout),
        args_(args),
        work_(work),
        team_(team),
        thread_(thread),
        I_(args.size.input_size),
        H_(args.size.hidden_size) {}

  // Converts the chunk's input to what products read, unless they read it in place.
  void convert(const Chunk& chunk) {
    if (!work_.kConvertsInput || args_.indices) return;
    input_row_ = chunk.row;
    const Range mine = share(chunk.rows, thread_, team_.size);
    convert_rows<P>(args_.x + (chunk.row + mine.begin) * args_.x_stride, args_.x_stride,
                    mine.end - mine.begin, I_, work_.x + mine.begin * F::row_lanes(I_),
                    F::row_lanes(I_));
    team_.barrier();
  }

  // Computes gates = x W^T + bias for a thread's rows of a chunk. `gates` points at packed row
  // `first_row`.
  void multiply(const Chunk& chunk, const Partition& own, Index first_row, Index gates_tile,
                T* gates) const {
    for (Index tile = own.tiles.begin; tile < own.tiles.end; ++tile) {
      const auto rows = [&](Index first, Index count) {
        multiply_rows_of(tile, first, count,
                         gates + tile * gates_tile + (first - first_row) * l_.slot_row);
      };
      if (own.by_tiles) {
        rows(chunk.row, chunk.rows);
        continue;
      }
      const Index low = min_index(chunk.first, chunk.last);
      for (Index t = low; t <= max_index(chunk.first, chunk.last); ++t) {
        const Index end = min_index(own.batch.end, args_.size.rows.count(t));
        if (own.batch.begin < end)
          rows(args_.size.rows.offset[t] + own.batch.begin, end - own.batch.begin);
      }
    }
  }

 private:
  // Computes gates = x W^T + bias, or copies x for gates that read it, for rows [first, first +
  // count) of one tile. The gates' row stride is slot_row.
  void multiply_rows_of(Index tile, Index first, Index count, T* gates) const {
    for (int g = l_.reading_gates.first; g < l_.reading_gates.end(); ++g)
      copy_input(tile, first, count, gates + g * l_.units);
    const T* bias = work_.weights.bias_ih + tile * l_.gate_row;
    if constexpr (!F::kQuantizes)
      if (args_.size.direct) return multiply_direct(tile, first, count, bias, gates);
    const Index depth = F::steps(I_), panel_height = panel_rows<P>(I_);
    const Index most = F::kQuantizes ? depth : kDepthBlock;  // exact sums are not divided
    const T* weights = work_.weights.w_ih + tile * panel_height * l_.gate_row;
    l_.for_panels(l_.input_gates, l_.used_vectors(H_, tile), [&](int column, int vectors) {
      const T* panel = weights + panel_height * W * column;
      if (args_.indices) {
        gather_rows(first, count, panel, vectors, bias + column * W, gates + column * W);
        return;
      }
      for (Index k = 0; k < depth; k += most)
        multiply_rows<P>(
            {.a = x_row(first) + k * F::kParts,
             .lda = x_stride(),
             .b = panel + k * vectors * W,
             .ldb = vectors * W,
             .depth = min_index(most, depth - k),
             .c = gates + column * W,
             .ldc = l_.slot_row,
             .columns = vectors * W,
             .bias = k ? nullptr : bias + column * W,
             .add = k > 0,
             .ahead = {panel + (k + most < depth ? k + most : panel_height) * vectors * W}},
            count);
    });
  }

  // A row of the operands, and their stride.
  const T* x_row(Index row) const {
    return work_.kConvertsInput ? work_.x + (row - input_row_) * x_stride()
                                : args_.x + row * x_stride();
  }
  Index x_stride() const { return work_.kConvertsInput ? F::row_lanes(I_) : args_.x_stride; }

  // Copies a tile's units of the input itself.
  void copy_input(Index tile, Index first, Index count, T* to) const {
    const Index unit = tile * l_.units;
    for (Index r = 0; r < count; ++r, to += l_.slot_row) {
      if (args_.x) {
        pad_rows<T>(args_.x + (first + r) * args_.x_stride + unit, 0, 1, I_ - unit, to, l_.units);
        continue;
      }
      pad_rows<T>(nullptr, 0, 1, 0, to, l_.units);
      const Index at = args_.indices[first + r] - unit;
      if (at >= 0 && at < l_.units) to[at] = 1;
    }
  }

  void multiply_direct(Index tile, Index first, Index count, const T* bias, T* gates) const {
    const T* w = args_.weights.weight_ih;
    if (args_.x)
      return direct_gates<P>(l_,
                             {.a = x_row(first),
                              .lda = x_stride(),
                              .w = w,
                              .ldw = I_,
                              .depth = I_,
                              .depth_block = kDepthBlock * F::kStep,
                              .c = gates,
                              .ldc = l_.slot_row,
                              .bias = bias},
                             l_.info.input, H_, tile, l_.input_gates, count);
    for (Index r = 0; r < count; ++r)
      direct_gather<P>(l_, w, I_, args_.indices[first + r], H_, tile, bias,
                       gates + r * l_.slot_row);
  }

  // The input product for indices: one row of the panel is the product with a one-hot vector.
  void gather_rows(Index first, Index count, const T* panel, int vectors, const T* bias,
                   T* gates) const {
    for (Index r = 0; r < count; ++r) {
      const Index index = args_.indices[first + r];
      for (int v = 0; v < vectors; ++v) {
        const V weights = F::one_hot(panel + v * W, vectors * W, index);
        (weights + V::load(bias + v * W)).store(gates + r * l_.slot_row + v * W);
      }
    }
  }

  const Layout<T>& l_;
  const ForwardArgs<T>& args_;
  const ForwardWorkspace<P>& work_;
  const Team& team_;
  const int thread_;
  const Index I_, H_;
  Index input_row_ = 0;  // packed row of the first row in work_.x
};

}  // namespace RNNFAST_ISA_NAMESPACE
