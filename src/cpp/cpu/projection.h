#pragma once
// The projection of h (LSTMP): h = m W_hr^T, where m is what the cell's functions compute as their
// h.
//
// weight_hr, (P, H), is packed in panels of two vectors of columns, [panel][step of the depth]
// [columns]: narrow, so that every thread gets some when threads share a step by tiles.

#include "core/team.h"
#include "cpu/quantize.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class P>
class Projection {
  using T = RealOf<P>;
  using F = Format<P>;
  static constexpr int W = kLanes<T>;
  static constexpr Index kWidth = 2 * W;  // columns of a panel

 public:
  Projection(const LayerSize& size, T* panels)
      : H_(size.hidden_size), P_(size.proj_size), panel_(panel_rows<P>(H_)), panels_(panels) {}

  explicit operator bool() const { return P_ > 0; }
  // The size of the panels in values.
  Index size() const { return blocks_of(P_, kWidth) * kWidth * panel_; }

  // Packs this thread's share.
  void pack(const T* weight_hr, const Team& team, int thread) const {
    for_panels(shared(team, thread), [&](Index first, Index columns) {
      const Index width = blocks_of(columns, W) * W;
      for (Index at = 0; at < columns; at += W)
        fill_columns<P>(weight_hr + (first + at) * H_, H_, int(min_index(W, columns - at)), H_,
                        panels_ + first * panel_ + at, width);
    });
  }

  // A thread's panels if threads share the columns, and all panels.
  Range shared(const Team& team, int thread) const {
    return share(blocks_of(P_, kWidth), thread, team.size);
  }
  Range all() const { return {0, blocks_of(P_, kWidth)}; }

  // Computes some panels' columns of h, row stride h_stride, from rows of m as products read them.
  void multiply(const T* m, Index m_stride, Index rows, Range panels, T* h, Index h_stride) const {
    for_panels(panels, [&](Index first, Index columns) {
      const T* panel = panels_ + first * panel_;
      const Index width = blocks_of(columns, W) * W;
      multiply_rows<P>({.a = m,
                        .lda = m_stride,
                        .b = panel,
                        .ldb = width,
                        .depth = F::steps(H_),
                        .c = h + first,
                        .ldc = h_stride,
                        .columns = int(columns),
                        .ahead = {first + columns < P_ ? panel + width * panel_ : nullptr}},
                       rows);
    });
  }
  // Rounds the same columns of rows of h to operands.
  void round(const T* h, Index h_stride, Index rows, Range panels, T* operands) const {
    for_panels(panels, [&](Index first, Index columns) {
      round_rows<P>(h + first, h_stride, rows, columns, operands + F::operand_lanes(first),
                    F::operand_lanes(P_));
    });
  }

 private:
  // Calls f(first column, columns) for each panel.
  template <class Function>
  void for_panels(Range panels, Function&& f) const {
    for (Index i = panels.begin; i < panels.end; ++i)
      f(i * kWidth, min_index(kWidth, P_ - i * kWidth));
  }

  const Index H_, P_, panel_;  // rows of a panel
  T* const panels_;
};

}  // namespace RNNFAST_ISA_NAMESPACE
