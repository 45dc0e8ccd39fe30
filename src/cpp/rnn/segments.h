#pragma once
// The steps of one direction cut into segments: what backward recomputes at a time. Without
// recomputation all steps are one segment.

#include <vector>

#include "rnn/packed_batch.h"

namespace rnnfast {

// Some steps that follow each other, as a kernel sees them: counted from 0, like their rows.
struct Segment {
  PackedRows rows;
  Index row;  // the packed row of the whole batch that is the segment's row 0
};

class Segments {
 public:
  // Cuts the steps, from the last that forward takes to the first, into segments of at least
  // `least_steps`. A segment is made of whole chunks of backward, which end with the step that
  // fills `chunk_rows` rows, so that every sum has the terms and the order that it has uncut.
  Segments(const PackedBatch& packed, bool reverse, Index least_steps, Index chunk_rows);

  Index size() const { return Index(segments_.size()); }
  // In the order in which forward takes them.
  const Segment& operator[](Index i) const { return segments_[i]; }
  // The rows of the segment with the most of them.
  PackedRows largest() const;

  // Segments point into `offsets_`, which moves with them but cannot be copied.
  Segments(Segments&&) = default;
  Segments& operator=(Segments&&) = default;

 private:
  std::vector<Segment> segments_;
  std::vector<Index> offsets_;  // one table of steps + 1 for each segment, or one for all if dense
};

}  // namespace rnnfast
