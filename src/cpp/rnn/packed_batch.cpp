#include "rnn/packed_batch.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace rnnfast {

PackedBatch::PackedBatch(Index seq_len, Index batch, std::span<const Index> lengths)
    : seq_len_(seq_len), batch_(batch), order_(batch) {
  std::iota(order_.begin(), order_.end(), Index{0});
  if (lengths.empty()) return;
  RNNFAST_CHECK(Index(lengths.size()) == batch, "lengths: expected one for each of ", batch,
                " sequences, got ", lengths.size());
  for (Index b = 0; b < batch; ++b)
    RNNFAST_CHECK(lengths[b] >= 0 && lengths[b] <= seq_len, "lengths[", b,
                  "]: expected 0 to seq_len = ", seq_len, ", got ", lengths[b]);
  dense_ = std::all_of(lengths.begin(), lengths.end(), [&](Index n) { return n == seq_len; });
  if (dense_) return;
  std::stable_sort(order_.begin(), order_.end(),
                   [&](Index a, Index b) { return lengths[a] > lengths[b]; });
  std::vector<Index> starts(seq_len + 1);  // starts[t]: sequences of length t
  for (const Index length : lengths) ++starts[length];
  offset_.resize(seq_len + 1);
  Index active = batch - starts[0];
  for (Index t = 0; t < seq_len; ++t) {
    offset_[t + 1] = offset_[t] + active;
    active -= starts[t + 1];
  }
}

template <class T>
void PackedBatch::pack(const T* padded, Index width, T* packed, int thread, int threads) const {
  for (Index t = seq_len_ * thread / threads; t < seq_len_ * (thread + 1) / threads; ++t)
    for (Index r = 0; r < count(t); ++r)
      std::copy_n(padded + (t * batch_ + order_[r]) * width, width, packed + (row(t) + r) * width);
}

template <class T>
void PackedBatch::unpack(const T* packed, Index width, T* padded, int thread, int threads) const {
  const Index begin = seq_len_ * thread / threads, end = seq_len_ * (thread + 1) / threads;
  if (dense_) {
    const Index first = row(begin) * width;
    std::copy_n(packed + first, row(end) * width - first, padded + first);
    return;
  }
  for (Index t = begin; t < end; ++t)
    for (Index r = 0; r < batch_; ++r) {
      T* to = padded + (t * batch_ + order_[r]) * width;
      if (r < count(t))
        std::copy_n(packed + (row(t) + r) * width, width, to);
      else
        std::fill_n(to, width, T(0));
    }
}

template void PackedBatch::pack(const float*, Index, float*, int, int) const;
template void PackedBatch::pack(const double*, Index, double*, int, int) const;
template void PackedBatch::pack(const Index*, Index, Index*, int, int) const;
template void PackedBatch::unpack(const float*, Index, float*, int, int) const;
template void PackedBatch::unpack(const double*, Index, double*, int, int) const;

}  // namespace rnnfast
