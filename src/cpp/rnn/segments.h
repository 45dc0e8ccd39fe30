#pragma once
// Cuts the steps of one direction into the segments that backward recomputes at a time. Without
// recomputation, all steps are one segment.

#include <vector>

#include "rnn/packed_batch.h"

namespace rnnfast {

// Consecutive steps as a kernel sees them: steps and rows are counted from 0.
struct Segment {
  PackedRows rows;
  Index row;  // the batch's packed row that is the segment's row 0
};

class Segments {
 public:
  // Cuts the steps, from the last that forward takes to the first, into segments of at least
  // `least_steps`. A segment consists of whole chunks of backward, which end with the step that
  // fills `chunk_rows` rows, so that every sum keeps its terms and their order.
  Segments(const PackedBatch& packed, bool reverse, Index least_steps, Index chunk_rows);

  Index size() const { return Index(segments_.size()); }
  // In the order in which forward takes them.
  const Segment& operator[](Index i) const { return segments_[i]; }
  // The rows of the segment that has the most rows.
  PackedRows largest() const;

  // Segments point into `offsets_`, which moves with them but cannot be copied.
  Segments(Segments&&) = default;
  Segments& operator=(Segments&&) = default;

 private:
  std::vector<Segment> segments_;
  std::vector<Index> offsets_;  // a table of steps + 1 offsets per segment, or one for all if dense
};

}  // namespace rnnfast
