#include "rnn/packed_batch.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace rnnfast {
namespace {

// Adds the episodes of one sequence. `reset` points at its flag of step 0, with row stride `batch`,
// or is null.
void add_episodes(Index sequence, Index length, const unsigned char* reset, Index batch,
                  std::vector<Episode>& episodes) {
  const bool discards = reset && length > 0 && reset[0];
  Index start = 0;
  for (Index t = 1; t <= length || t == 1; ++t) {
    const bool ends = t >= length;
    if (!ends && !(reset && reset[t * batch])) continue;
    const Index end = ends ? length : t;
    episodes.push_back(
        {sequence, start, end - start, {start == 0 && !discards, ends}, {ends, start == 0}});
    start = end;
  }
}

}  // namespace

PackedBatch::PackedBatch(Index seq_len, Index batch, std::span<const Index> lengths,
                         std::span<const unsigned char> reset)
    : seq_len_(seq_len), batch_(batch), steps_(batch ? seq_len : 0) {
  RNNFAST_CHECK(lengths.empty() || Index(lengths.size()) == batch,
                "lengths: expected one for each of ", batch, " sequences, got ", lengths.size());
  RNNFAST_CHECK(reset.empty() || Index(reset.size()) == seq_len * batch,
                "reset: expected one value for each of ", seq_len * batch, " steps, got ",
                reset.size());
  for (std::size_t b = 0; b < lengths.size(); ++b)
    RNNFAST_CHECK(lengths[b] >= 0 && lengths[b] <= seq_len, "lengths[", b,
                  "]: expected 0 to seq_len = ", seq_len, ", got ", lengths[b]);
  const bool resets = std::any_of(reset.begin(), reset.end(), [](auto flag) { return flag != 0; });
  if (!resets &&
      std::all_of(lengths.begin(), lengths.end(), [&](auto n) { return n == seq_len; })) {
    order_.resize(batch);
    std::iota(order_.begin(), order_.end(), Index{0});
    return;
  }
  std::vector<Episode> episodes;
  episodes.reserve(batch);
  for (Index b = 0; b < batch; ++b)
    add_episodes(b, lengths.empty() ? seq_len : lengths[b], resets ? &reset[b] : nullptr, batch,
                 episodes);
  sort(std::move(episodes));
}

void PackedBatch::sort(std::vector<Episode> episodes) {
  dense_ = false;
  std::stable_sort(episodes.begin(), episodes.end(), [](const Episode& a, const Episode& b) {
    return a.length != b.length ? a.length > b.length : a.start < b.start;
  });
  const Index count = Index(episodes.size());
  steps_ = episodes[0].length;
  offset_.resize(steps_ + 1);
  row_of_.assign(seq_len_ * batch_, -1);
  for (Index t = 0, active = count; t < steps_; ++t) {
    while (episodes[active - 1].length <= t) --active;
    offset_[t + 1] = offset_[t] + active;
    for (Index r = 0; r < active; ++r)
      row_of_[(episodes[r].start + t) * batch_ + episodes[r].sequence] = offset_[t] + r;
  }
  for (const Episode& e : episodes) order_.push_back(e.sequence);
  const auto is_given = [](const Episode& e) { return e.given[0]; };
  if (std::all_of(episodes.begin(), episodes.end(), is_given)) return;
  sequences_ = order_;
  std::iota(order_.begin(), order_.end(), Index{0});
  for (const Episode& e : episodes) starts_.push_back(e.start);
  episodes_ = std::move(episodes);
}

PackedRows PackedBatch::rows(Index begin, Index end, const Index* offset) const {
  return {.steps = end - begin,
          .batch = episodes(),
          .offset = offset,
          .order = order_.data(),
          .sequence = resets() ? sequences_.data() : order_.data(),
          .start = resets() ? starts_.data() : nullptr,
          .first_step = begin};
}

template <class T>
void PackedBatch::pack(const T* padded, Index width, T* packed, int thread, int threads) const {
  const Index rows = seq_len_ * batch_, end = rows * (thread + 1) / threads;
  for (Index p = rows * thread / threads; p < end; ++p)
    if (const Index row = row_of(p); row >= 0)
      std::copy_n(padded + p * width, width, packed + row * width);
}

template <class T>
void PackedBatch::unpack(const T* packed, Index width, T* padded, int thread, int threads) const {
  const Index rows = seq_len_ * batch_;
  const Index begin = rows * thread / threads, end = rows * (thread + 1) / threads;
  if (dense_)
    return void(std::copy(packed + begin * width, packed + end * width, padded + begin * width));
  for (Index p = begin; p < end; ++p) {
    const Index row = row_of(p);
    if (row >= 0)
      std::copy_n(packed + row * width, width, padded + p * width);
    else
      std::fill_n(padded + p * width, width, T(0));
  }
}

template void PackedBatch::pack(const float*, Index, float*, int, int) const;
template void PackedBatch::pack(const double*, Index, double*, int, int) const;
template void PackedBatch::pack(const Index*, Index, Index*, int, int) const;
template void PackedBatch::unpack(const float*, Index, float*, int, int) const;
template void PackedBatch::unpack(const double*, Index, double*, int, int) const;

}  // namespace rnnfast
