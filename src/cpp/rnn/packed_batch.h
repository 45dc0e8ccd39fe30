#pragma once
// Sequences as packed rows. Resets cut a sequence into episodes, whose steps follow each other; a
// sequence without resets is one episode. Episodes are sorted by decreasing length, so that the
// active ones of a step are a prefix and no work is spent on padding.

#include <span>
#include <vector>

#include "cpu/kernel_table.h"

namespace rnnfast {

// Steps [start, start + length) of one of the caller's sequences. In a direction, the first episode
// that it takes starts from the given state, the others from the state after a reset; the last one
// ends with the final state.
struct Episode {
  Index sequence, start, length;
  bool given[2];  // whether each direction starts from the given state
  bool final[2];  // whether each direction ends with the final state
};

// Steps [begin, end).
struct StepRange {
  Index begin, end;
};

class PackedBatch {
 public:
  // `lengths` must be in [0, seq_len], or Error is thrown; empty means seq_len for all sequences.
  // `reset` (T, B) is not 0 where a step starts an episode; empty means nowhere.
  PackedBatch(Index seq_len, Index batch, std::span<const Index> lengths,
              std::span<const unsigned char> reset = {});

  // The steps of the longest episode: 0 without sequences, as nothing is to be done in any step.
  Index steps() const { return steps_; }
  Index episodes() const { return Index(order_.size()); }  // E, which is B without resets
  Index row(Index t) const { return dense_ ? t * batch_ : offset_[t]; }  // the first row of step t
  Index count(Index t) const { return row(t + 1) - row(t); }
  Index total() const { return row(steps_); }
  // Whether the packed rows are the padded (T, B, .) array itself.
  bool is_dense() const { return dense_; }
  // Whether any step starts an episode without the given state.
  bool resets() const { return !episodes_.empty(); }
  // Episode r in packed order; only if the batch resets.
  const Episode& episode(Index r) const { return episodes_[r]; }

  // Steps [begin, end) as the kernels see them. `offset` is their table of rows.
  PackedRows rows(Index begin, Index end, const Index* offset) const;
  // The packed row of row `padded` = t * B + b of the caller's arrays; -1 beyond a sequence's end.
  Index row_of(Index padded) const { return dense_ ? padded : row_of_[padded]; }
  // The inverse, for row r of step t.
  Index padded_row(Index t, Index r) const {
    const bool given = episodes_.empty();
    return (given ? t : t + starts_[r]) * batch_ + (given ? order_[r] : sequences_[r]);
  }

  // Copies thread `thread`'s share of rows of `width` values between the padded array and the
  // packed one. `unpack` writes zeros after each sequence's end.
  template <class T>
  void pack(const T* padded, Index width, T* packed, int thread, int threads) const;
  template <class T>
  void unpack(const T* packed, Index width, T* padded, int thread, int threads) const;

 private:
  void sort(std::vector<Episode> episodes);

  Index seq_len_, batch_, steps_;
  bool dense_ = true;
  std::vector<Index> order_;  // (E,) of each packed row of step 0, its row in the states' arrays
  // The rest is empty if dense, and the last three also without resets.
  std::vector<Index> offset_;              // (steps+1,)
  std::vector<Index> row_of_;              // (T*B,)
  std::vector<Index> sequences_, starts_;  // (E,)
  std::vector<Episode> episodes_;          // (E,)
};

}  // namespace rnnfast
