#include "rnn/segments.h"

#include <algorithm>

namespace rnnfast {
namespace {

// The segments' steps, in backward's order.
std::vector<StepRange> cut(const PackedBatch& packed, bool reverse, Index least_steps,
                           Index chunk_rows) {
  const Index T = packed.steps();
  std::vector<StepRange> ranges;
  Index first = 0, rows = 0;  // of the segment and of the chunk, in backward's order
  const auto close = [&](Index end) {
    ranges.push_back(reverse ? StepRange{first, end} : StepRange{T - end, T - first});
    first = end;
  };
  if (least_steps < T)
    for (Index i = 0; i + 1 < T; ++i) {
      rows += packed.count(reverse ? i : T - 1 - i);
      if (rows < chunk_rows) continue;
      rows = 0;
      if (i + 1 - first >= least_steps) close(i + 1);
    }
  close(T);
  return ranges;
}

}  // namespace

Segments::Segments(const PackedBatch& packed, bool reverse, Index least_steps, Index chunk_rows) {
  std::vector<StepRange> ranges = cut(packed, reverse, least_steps, chunk_rows);
  std::reverse(ranges.begin(), ranges.end());
  Index values = 0;
  for (const auto [begin, end] : ranges)
    values = packed.is_dense() ? std::max(values, end - begin + 1) : values + end - begin + 1;
  offsets_.reserve(values);
  if (packed.is_dense())
    for (Index t = 0; t < values; ++t) offsets_.push_back(packed.row(t));
  for (const auto [begin, end] : ranges) {
    const Index table = packed.is_dense() ? 0 : Index(offsets_.size()), row = packed.row(begin);
    if (!packed.is_dense())
      for (Index t = begin; t <= end; ++t) offsets_.push_back(packed.row(t) - row);
    segments_.push_back({packed.rows(begin, end, offsets_.data() + table), row});
  }
}

PackedRows Segments::largest() const {
  return std::max_element(
             segments_.begin(), segments_.end(),
             [](const Segment& a, const Segment& b) { return a.rows.total() < b.rows.total(); })
      ->rows;
}

}  // namespace rnnfast
