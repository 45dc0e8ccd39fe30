#pragma once
// The projection of h in the backward pass. A step first completes the gradient of h, P columns:
// what comes through the recurrent products, or from the final states, plus dy. Multiplied by
// weight_hr it is the gradient of m, which the cell's functions take as that of their h. The
// gradient of weight_hr sums the gradient of h times m, which the cell recomputes, over the rows of
// a chunk.

#include "core/carver.h"
#include "core/team.h"
#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

// A part of BackwardWorkspace; empty without a projection.
template <class P>
struct ProjectionMemory {
  using T = RealOf<P>;
  using F = Format<P>;
  T* weights;   // [group of vectors][step of P][columns]
  T* dweights;  // sums, (P, H)
  T* carry;     // (B, P): gradients of h for sequences without a later step
  T* dh;        // (chunk rows, P)
  T* operands;  // (B, P) as operands, if products round
  T* m;         // (chunk rows, H)
  T* m_steps;   // (steps of the chunk rows, H), if products round
  T* packed;    // dh, [block][chunk row][column]

  static Index padded(Index hidden) { return blocks_of(hidden, kLanes<T>) * kLanes<T>; }

  // Takes the buffers that survive from one part to the next; `take` takes the rest.
  void take_kept(Carver<T>& c, const LayerSize& s) {
    const Index row = s.proj_size ? padded(s.hidden_size) : 0;
    weights = c.take(F::steps(s.proj_size) * row);
    dweights = c.take(s.proj_size * row);
  }
  void take(Carver<T>& c, const LayerSize& s, Index chunk_rows) {
    const Index row = s.proj_size ? padded(s.hidden_size) : 0;
    carry = c.take(s.rows.batch * s.proj_size);
    dh = c.take(chunk_rows * s.proj_size);
    operands = c.take(F::kRounds ? s.rows.batch * F::operand_lanes(s.proj_size) : 0);
    m = c.take(chunk_rows * row);
    m_steps = F::kRounds ? c.take(F::steps(chunk_rows) * row) : m;
    packed = c.take(F::operand_lanes(chunk_rows) * s.proj_size);
  }
};

template <class P>
class ProjectionGradient {
  using T = RealOf<P>;
  using F = Format<P>;
  using V = Vec<T>;
  static constexpr int W = kLanes<T>;
  static constexpr Index kBlock = kBlockRows[kMaxVectors];

 public:
  ProjectionGradient(const BackwardArgs<T>& args, const Team& team, int thread,
                     const ProjectionMemory<P>& memory)
      : args_(args),
        team_(team),
        thread_(thread),
        memory_(memory),
        H_(args.size.hidden_size),
        P_(args.size.proj_size),
        row_(memory.padded(H_)) {}

  explicit operator bool() const { return P_ > 0; }
  Index m_row() const { return row_; }
  T* m(Index row) const { return memory_.m + row * row_; }

  // Packs the columns of weight_hr in vectors [v0, v0 + vectors): all rows, or this thread's share.
  void pack(Index v0, int vectors, bool shares) const {
    const Index width = vectors * W, steps = F::steps(P_);
    const Range mine = shares ? share(steps, thread_, team_.size) : Range{0, steps};
    const Index first = mine.begin * F::kStep;
    pad_rows<P>(args_.weights.weight_hr + first * H_ + v0 * W, H_,
                min_index(P_, mine.end * F::kStep) - first, H_ - v0 * W,
                panel(v0) + mine.begin * width, width);
  }

  // Loads the gradient of h after the last step of this part; store_initial returns that before the
  // first step to the caller.
  void load_final(Range tiles, const Layout<T>& l) const {
    load_h0(l, args_.dfinal[0], args_.size.rows, P_, tiles, memory_.carry);
  }
  void store_initial() const {
    const Range mine = share(args_.size.rows.batch, thread_, team_.size);
    for (Index r = mine.begin; r < mine.end; ++r)
      __builtin_memcpy(args_.dinitial[0] + args_.size.rows.order[r] * P_, memory_.carry + r * P_,
                       P_ * sizeof(T));
  }

  // Keeps some vectors of the gradient of h that came through products, (rows, vectors * W), for
  // the initial states.
  void keep(Index v0, int vectors, Index first, Index rows, const T* product) const {
    for_vectors(v0, vectors, rows, [&](Index r, Index v, Index column, int lanes) {
      V::load(product + (r * vectors + v) * W)
          .store(memory_.carry + (first + r) * P_ + column, lanes);
    });
  }
  // Completes the gradient of h for sequences [first, first + rows) of a step, whose first row in
  // the chunk is `row`: the product, or what was kept if that is null, plus dy unless it is null.
  void complete(Index v0, int vectors, Index row, Index first, Index rows, const T* product,
                const T* dy) const {
    for_vectors(v0, vectors, rows, [&](Index r, Index v, Index column, int lanes) {
      V dh = product ? V::load(product + (r * vectors + v) * W)
                     : V::load(memory_.carry + (first + r) * P_ + column, lanes);
      if (dy) dh = dh + V::load(dy + (first + r) * args_.y_stride + column, lanes);
      dh.store(memory_.dh + (row + first + r) * P_ + column, lanes);
      if (F::kRounds) F::store(dh, operands(first + r) + F::operand_lanes(column), lanes);
    });
  }

  // Computes the gradient of m, (rows, vectors * W), for sequences of that step. `next` is the
  // first vector of the next group, or -1.
  void multiply(Index v0, int vectors, Index next, Index row, Index first, Index rows,
                T* out) const {
    const Index width = vectors * W;
    multiply_rows<P>({.a = F::kRounds ? operands(first) : memory_.dh + (row + first) * P_,
                      .lda = F::operand_lanes(P_),
                      .b = panel(v0),
                      .ldb = width,
                      .depth = F::steps(P_),
                      .c = out,
                      .ldc = width,
                      .columns = int(width),
                      .ahead = {next < 0 ? nullptr : panel(next)}},
                     rows);
  }

  // The gradient of weight_hr: packs this thread's share of the operands of a chunk's product. Once
  // all threads have done so, add_chunk computes its share of the product.
  void pack_chunk(Index rows) const {
    const Range blocks = share(blocks_of(P_, kBlock), thread_, team_.size);
    for (Index b = blocks.begin; b < blocks.end; ++b) {
      const int width = block_width(b);
      T* to = memory_.packed + b * kBlock * F::operand_lanes(rows);
      pack_columns<P>(memory_.dh + b * kBlock, P_, rows, width, to);
      pad_columns<P>(rows, width, to);
    }
    if constexpr (F::kRounds) {
      const Range steps = share(F::steps(rows), thread_, team_.size);
      for (Index k = steps.begin; k < steps.end; ++k)
        for (Index i = 0; i < row_; i += W) {
          const T* from = m(k * F::kStep) + i;
          const V pair[2] = {V::load(from), k * F::kStep + 1 < rows ? V::load(from + row_) : V(0)};
          F::join(pair).store(memory_.m_steps + k * row_ + i);
        }
    }
  }
  void add_chunk(Index rows, bool first) const {
    const Index blocks = blocks_of(P_, kBlock);
    const Range mine = share(blocks_of(row_, kMaxVectors * W) * blocks, thread_, team_.size);
    for (Index item = mine.begin; item < mine.end;) {
      const Index at = item % blocks, count = min_index(blocks - at, mine.end - item);
      add_columns(item / blocks * kMaxVectors * W, {at, at + count}, rows, first);
      item += count;
    }
  }
  // Writes the sums to the caller's gradient, or adds them.
  void finish(bool empty) const {
    const Range mine = share(P_, thread_, team_.size);
    for (Index p = mine.begin; p < mine.end; ++p)
      for (Index i = 0; i < H_; i += W) {
        const int lanes = int(min_index(W, H_ - i));
        T* to = args_.dweights.weight_hr + p * H_ + i;
        V sum = empty ? V(0) : V::load(memory_.dweights + p * row_ + i);
        if (args_.add_dweights) sum = sum + V::load(to, lanes);
        sum.store(to, lanes);
      }
  }

 private:
  T* panel(Index v0) const { return memory_.weights + v0 * W * F::steps(P_); }
  T* operands(Index row) const { return memory_.operands + row * F::operand_lanes(P_); }
  int block_width(Index block) const { return int(min_index(kBlock, P_ - block * kBlock)); }

  // Calls f(row, vector, first column, lanes) for vectors of h.
  template <class Function>
  RNNFAST_INLINE void for_vectors(Index v0, int vectors, Index rows, Function&& f) const {
    for (Index r = 0; r < rows; ++r)
      for (Index v = 0; v < vectors; ++v)
        f(r, v, (v0 + v) * W, int(min_index(W, P_ - (v0 + v) * W)));
  }

  // Adds to some blocks of rows of the sums, in the panel of columns that begins at `column`.
  void add_columns(Index column, Range blocks, Index rows, bool first) const {
    const int vectors = int(min_index(kMaxVectors, (row_ - column) / W));
    for_blocks(F::steps(rows), kGradientDepth / F::kStep, [&](Index step, Index steps) {
      for (Index b = blocks.begin; b < blocks.end; ++b) {
        const int width = block_width(b);
        kBlocks<P, true>.fn[vectors - 1][width - 1](
            {.a = memory_.packed + b * kBlock * F::operand_lanes(rows) + step * F::kParts * width,
             .lda = 0,
             .b = memory_.m_steps + step * row_ + column,
             .ldb = row_,
             .depth = steps,
             .c = memory_.dweights + b * kBlock * row_ + column,
             .ldc = row_,
             .columns = vectors * W,
             .add = !first || step > 0});
      }
    });
  }

  const BackwardArgs<T>& args_;
  const Team& team_;
  const int thread_;
  const ProjectionMemory<P>& memory_;
  const Index H_, P_, row_;  // row_: padded row of m and of the sums
};

}  // namespace RNNFAST_ISA_NAMESPACE
