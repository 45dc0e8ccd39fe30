#pragma once
// Sequences of unequal length as packed rows: sorted by decreasing length, so that the active ones
// of a step are a prefix and no work is spent on padding.

#include <span>
#include <vector>

#include "cpu/kernel_table.h"

namespace rnnfast {

class PackedBatch {
 public:
  // `lengths` must be in [0, seq_len], or Error is thrown; empty means seq_len for all sequences.
  PackedBatch(Index seq_len, Index batch, std::span<const Index> lengths);

  Index seq_len() const { return seq_len_; }
  Index batch() const { return batch_; }
  const Index* order() const { return order_.data(); }  // (B,) the caller's number of each
  Index row(Index t) const { return dense_ ? t * batch_ : offset_[t]; }  // the first row of step t
  Index count(Index t) const { return row(t + 1) - row(t); }
  Index total() const { return row(seq_len_); }
  // Whether the packed rows are the padded (T, B, .) array itself.
  bool is_dense() const { return dense_; }

  // Copies thread `thread`'s share of rows of `width` values between the padded array and the
  // packed one. `unpack` writes zeros after each sequence's end.
  template <class T>
  void pack(const T* padded, Index width, T* packed, int thread, int threads) const;
  template <class T>
  void unpack(const T* packed, Index width, T* padded, int thread, int threads) const;

 private:
  Index seq_len_, batch_;
  bool dense_ = true;
  std::vector<Index> offset_;  // (T+1,); empty if dense
  std::vector<Index> order_;   // (B,)
};

}  // namespace rnnfast
