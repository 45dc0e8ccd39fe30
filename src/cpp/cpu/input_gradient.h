#pragma once
// The gradient of the input: for a chunk of rows, the gate gradients times weight_ih.

#include "cpu/direct_backward.h"
#include "cpu/transposed.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class InputGradient {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  static constexpr int W = kLanes<T>;

 public:
  InputGradient(const Layout<T>& layout, const BackwardArgs<T>& args,
                const BackwardWorkspace<P>& work, const Team& team, int thread)
      : l_(layout),
        args_(args),
        work_(work),
        team_(team),
        thread_(thread),
        I_(args.size.input_size),
        H_(args.size.hidden_size),
        tiles_(l_.tiles(H_)) {}

  // Packs the weights of some tiles.
  void pack(Range tiles) const {
    for (Index v0 = 0; v0 < l_.vectors(I_); v0 += kMaxVectors)
      pack_transposed<P>(l_, args_.weights.weight_ih, l_.info.input, H_, I_, l_.input_gates, v0,
                         vectors_from(v0), tiles, panel(v0));
  }

  // Writes dx of this thread's share of a chunk's rows.
  void write(const Chunk& chunk, const T* gates, T* scratch) const {
    if (args_.size.direct) return write_direct(chunk, gates);
    const Range mine = share(chunk.rows, thread_, team_.size);
    for_blocks(mine.end - mine.begin, blocking().strip_rows, [&](Index at, Index rows) {
      const Index first = mine.begin + at;
      for (Index v0 = 0; v0 < l_.vectors(I_); v0 += kMaxVectors) {
        const int vectors = vectors_from(v0);
        transposed_product<P>(l_, gates + first * F::operand_lanes(l_.gate_row), chunk_tile(),
                              l_.input_gates.count, panel(v0),
                              panel(v0 + vectors < l_.vectors(I_) ? v0 + vectors : 0), vectors,
                              tiles_, rows, scratch);
        for (Index r = 0; r < rows; ++r)
          store_dx(chunk, gates, first + r, {v0, v0 + vectors}, scratch + r * vectors * W);
      }
    });
  }

 private:
  // Threads share the columns, as there are few rows.
  void write_direct(const Chunk& chunk, const T* gates) const {
    const Range mine = share(l_.vectors(I_), thread_, team_.size);
    const Index width = l_.vectors(I_) * W;
    T *out = work_.direct_dx + mine.begin * W, *part = out + work_.chunk_rows * width;
    direct_transposed<P>(l_, gates, chunk_tile(),
                         {args_.weights.weight_ih, l_.info.input, l_.input_gates.count * H_, H_, I_,
                          l_.input_gates, mine},
                         tiles_, chunk.rows, out, part, width);
    for (Index r = 0; r < chunk.rows; ++r) store_dx(chunk, gates, r, mine, out + r * width);
  }

  // Stores some vectors of a row of dx and adds the gradients of gates that read the input itself.
  void store_dx(const Chunk& chunk, const T* gates, Index row, Range vectors, const T* from) const {
    for (Index v = vectors.begin; v < vectors.end; ++v, from += W) {
      const int lanes = int(min_index(W, I_ - v * W));
      T* to = args_.dx + (chunk.row + row) * args_.dx_stride + v * W;
      V value = V::load(from);
      for (int g = l_.reading_gates.first; g < l_.reading_gates.end(); ++g)
        value = value +
                F::load(gates + l_.tile_of(v) * chunk_tile() + row * F::operand_lanes(l_.gate_row) +
                        F::operand_lanes(g * l_.units + l_.place_of(v) * W));
      if (args_.add_dx) value = value + V::load(to, lanes);
      value.store(to, lanes);
    }
  }

  T* panel(Index v0) const { return work_.w_ih + v0 * W * tiles_ * F::steps(l_.gate_row); }
  int vectors_from(Index v0) const { return int(min_index(kMaxVectors, l_.vectors(I_) - v0)); }
  Index chunk_tile() const { return work_.chunk_rows * F::operand_lanes(l_.gate_row); }

  const Layout<T>& l_;
  const BackwardArgs<T>& args_;
  const BackwardWorkspace<P>& work_;
  const Team& team_;
  const int thread_;
  const Index I_, H_, tiles_;
};

}  // namespace RNNFAST_ISA_NAMESPACE
