#pragma once
// The recurrent products of the backward pass: the gradients of a product's operand, from the gate
// gradients of a step.

#include "cpu/direct_backward.h"
#include "cpu/transposed.h"

namespace RNNFAST_ISA_NAMESPACE {

// Columns of a gradient: up to four of a thread's vectors, which are split evenly into groups.
struct ColumnGroup {
  Index v0;
  int vectors;
  Index next;  // first vector of the next group, or -1
};

template <class P>
class RecurrentGradient {
  using T = RealOf<P>;
  using F = Format<P>;
  static constexpr int W = kLanes<T>;

 public:
  RecurrentGradient(const Layout<T>& layout, const BackwardArgs<T>& args,
                    const BackwardWorkspace<P>& work, Range own_vectors)
      : l_(layout),
        args_(args),
        work_(work),
        own_vectors_(own_vectors),
        H_(args.size.hidden_size),
        R_(args.size.h_size()),
        tiles_(l_.tiles(H_)) {}

  // Packs a group's columns of the weights, for some tiles.
  void pack(const ColumnGroup& group, Range tiles) const {
    for (int p = 0; p < l_.products.size; ++p)
      pack_transposed<P>(l_, args_.weights.weight_hh, l_.info.recurrent, H_, R_,
                         l_.products.item[p].gates, group.v0, group.vectors, tiles,
                         panel(p, group.v0));
  }

  // Computes the gradients of a group's operands (see ProductList) for all `count` rows of a step
  // and this thread's columns, from the weights in place; `multiply` then only copies them.
  void multiply_direct(int product_group, const T* step_gates, Index count) const {
    for (int i = l_.products.group[product_group]; i < l_.products.group[product_group + 1]; ++i) {
      const int p = l_.products.made[i];
      const Span gates = l_.products.item[p].gates;
      direct_transposed<P>(l_, step_gates + F::operand_lanes(gates.first * l_.units), chunk_tile(),
                           {args_.weights.weight_hh, l_.info.recurrent,
                            l_.info.recurrent_gates() * H_, H_, H_, gates, own_vectors_},
                           tiles_, count, direct_row(p, 0), direct_row(l_.products.size, 0),
                           direct_width());
    }
  }

  // Computes a group's columns of the gradient of product p's operand for some rows of a step.
  void multiply(int p, const T* step_gates, const ColumnGroup& group, Index first, Index rows,
                T* out) const {
    if (args_.size.direct) {
      for (Index r = 0; r < rows; ++r)
        __builtin_memcpy(out + r * group.vectors * W,
                         direct_row(p, first + r) + (group.v0 - own_vectors_.begin) * W,
                         group.vectors * W * sizeof(T));
      return;
    }
    const Span gates = l_.products.item[p].gates;
    const T* rows_of_gates = step_gates + first * F::operand_lanes(l_.gate_row) +
                             F::operand_lanes(gates.first * l_.units);
    transposed_product<P>(l_, rows_of_gates, chunk_tile(), gates.count, panel(p, group.v0),
                          group.next < 0 ? nullptr : panel(p, group.next), group.vectors, tiles_,
                          rows, out);
  }

 private:
  T* panel(int p, Index v0) const {
    const Span gates = l_.products.item[p].gates;
    return work_.w_hh +
           W * tiles_ * F::steps(l_.units) * (l_.vectors(R_) * gates.first + v0 * gates.count);
  }
  Index chunk_tile() const { return work_.chunk_rows * F::operand_lanes(l_.gate_row); }
  Index direct_width() const { return l_.vectors(H_) * W; }
  T* direct_row(int p, Index row) const {
    return work_.direct + (p * work_.chunk_rows + row) * direct_width() + own_vectors_.begin * W;
  }

  const Layout<T>& l_;
  const BackwardArgs<T>& args_;
  const BackwardWorkspace<P>& work_;
  const Range own_vectors_;
  const Index H_, R_, tiles_;  // R_: columns of h
};

}  // namespace RNNFAST_ISA_NAMESPACE
