#pragma once
// The recurrent products of the forward pass: row blocks of weight_hh times the operands of a
// stage.

#include "cpu/direct.h"
#include "cpu/forward_workspace.h"

namespace RNNFAST_ISA_NAMESPACE {

// The operands of a stage's products: the rows of sequence 0, and the row strides. Null stands for
// rows of zeros, whose product is left out.
template <class T>
struct StageOperands {
  const T* rows[kMaxProducts];
  Index strides[kMaxProducts];
};

// Whether all bits of some values are 0. A pair of bfloat16 values can look like a denormal float,
// so the values are not compared as numbers.
template <class T>
RNNFAST_INLINE bool all_zero(const T* values, Index count) {
  const char* bytes = reinterpret_cast<const char*>(values);
  const Index size = count * Index(sizeof(T));
  return size == 0 || (bytes[0] == 0 && __builtin_memcmp(bytes, bytes + 1, size - 1) == 0);
}

template <class P>
class RecurrentProduct {
  using T = RealOf<P>;
  using F = Format<P>;
  static constexpr int W = kLanes<T>;

 public:
  RecurrentProduct(const Layout<T>& layout, const ForwardArgs<T>& args,
                   const ForwardWorkspace<P>& work)
      : l_(layout),
        args_(args),
        weights_(work.weights),
        H_(args.size.hidden_size),
        depth_(F::steps(args.size.h_size())),
        panel_(panel_rows<P>(args.size.h_size())) {}

  // Computes sums = bias_hh + the products of a stage, for `count` rows of a tile.
  RNNFAST_INLINE void multiply(int stage, const StageOperands<T>& operands, Index tile, Index row,
                               Index count, AheadShares<T>& ahead, T* sums) const {
    const int vectors = l_.used_vectors(H_, tile);
    const T* bias = weights_.bias_hh + tile * l_.gate_row;
    const int first = l_.products.first[stage], end = l_.products.first[stage + 1];
    for (int p = first; p < end; ++p) {
      const Span gates = l_.products.item[p].gates;
      if (!operands.rows[p - first]) {
        copy_bias(gates, tile, count, sums);
        continue;
      }
      const Index stride = operands.strides[p - first];
      const T* a = operands.rows[p - first] + row * stride;
      if constexpr (!F::kQuantizes) {
        if (args_.size.direct) {
          direct_gates<P>(l_,
                          {.a = a,
                           .lda = stride,
                           .w = args_.weights.weight_hh,
                           .ldw = H_,
                           .depth = H_,
                           .depth_block = H_,
                           .c = sums,
                           .ldc = l_.gate_row,
                           .bias = bias},
                          l_.info.recurrent, H_, tile, gates, count);
          continue;
        }
      }
      l_.for_panels(gates, vectors, [&](int column, int width) {
        kBlocks<P, false>.fn[width - 1][count - 1](
            {.a = a,
             .lda = stride,
             .b = weights_.w_hh + (tile * l_.gate_row + W * column) * panel_,
             .ldb = width * W,
             .depth = depth_,
             .c = sums + column * W,
             .ldc = l_.gate_row,
             .columns = width * W,
             .bias = bias + column * W,
             .ahead = ahead.take(depth_)});
      });
    }
  }

  // The first of a stage's packed weights for a tile; null if the stage has no products.
  const T* weights(int stage, Index tile) const {
    if (l_.products.first[stage] == l_.products.first[stage + 1]) return nullptr;
    const int first = l_.products.item[l_.products.first[stage]].gates.first * l_.units;
    return weights_.w_hh + (tile * l_.gate_row + first) * panel_;
  }

 private:
  // The product of rows of zeros.
  void copy_bias(Span gates, Index tile, Index count, T* sums) const {
    const Index first = gates.first * l_.units;
    const T* bias = weights_.bias_hh + tile * l_.gate_row + first;
    for (Index r = 0; r < count; ++r)
      __builtin_memcpy(sums + r * l_.gate_row + first, bias, gates.count * l_.units * sizeof(T));
  }

  const Layout<T>& l_;
  const ForwardArgs<T>& args_;
  const PackedLayer<P>& weights_;
  const Index H_, depth_, panel_;  // steps and rows of a panel
};

}  // namespace RNNFAST_ISA_NAMESPACE
