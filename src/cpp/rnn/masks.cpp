#include "rnn/masks.h"

#include <algorithm>
#include <functional>

#include "core/noise.h"
#include "cpu/dispatch.h"

namespace rnnfast {
namespace {

// Draws the mask of one of the caller's sequences for a layer's inputs, the same in every step.
template <class T>
void input_mask(const NetworkSize& s, Index layer, Index sequence, T* to) {
  const auto mask =
      noise_mask<T>(s.noise.input_dropout, s.seed, noise_cell(layer, 0), kInputDropout);
  dense<T>().dropout(nullptr, noise_row(sequence), s.layer_input(layer), mask, to);
}

}  // namespace

// Elements are numbered as in the padded array, so that a mask does not depend on lengths.
template <class T>
void drop_outputs(const NetworkSize& s, const PackedBatch& packed, Index layer, StepRange steps,
                  const T* from, T* to, int thread, int threads) {
  const Dropout<T> dropout(s.dropout, s.seed, unsigned(layer));
  const Index width = s.y_size(), row = packed.row(steps.begin);
  const Index rows = packed.row(steps.end) - row;
  const Index begin = row + rows * thread / threads, end = row + rows * (thread + 1) / threads;
  if (packed.is_dense()) {
    const Index first = begin * width;
    dense<T>().dropout(from + first, first, (end - begin) * width, dropout, to + first);
    return;
  }
  Index t = steps.begin;
  for (Index at = begin; at < end; ++at) {
    while (packed.row(t + 1) <= at) ++t;
    dense<T>().dropout(from + at * width, packed.padded_row(t, at - packed.row(t)) * width, width,
                       dropout, to + at * width);
  }
}

template <class T>
void drop_inputs(const NetworkSize& s, const PackedBatch& packed, Index layer, const T* from,
                 const Index* indices, T* to, T* memory, int thread, int threads) {
  const Index width = s.layer_input(layer);
  T* const mask = memory + thread * width;
  for (Index b = s.batch * thread / threads; b < s.batch * (thread + 1) / threads; ++b) {
    input_mask(s, layer, b, mask);
    for (Index t = 0; t < s.seq_len; ++t) {
      const Index row = packed.row_of(t * s.batch + b);
      if (row < 0) break;
      if (from) {
        std::transform(mask, mask + width, from + row * width, to + row * width, std::multiplies());
        continue;
      }
      std::fill_n(to + row * width, width, T(0));
      to[row * width + indices[row]] = mask[indices[row]];
    }
  }
}

Index input_mask_memory(const NetworkSize& s, int threads) {
  if (!s.drops_inputs()) return 0;
  return threads * std::max(s.input_size, s.num_layers > 1 ? s.y_size() : 0);
}

template <class T>
void network_dropout_mask(const Reserve<T>& r, Index layer, T* mask) {
  const Index width = r.size.y_size();
  std::vector<T> packed_mask(std::size_t(r.packed.total() * width), T(1));
  drop_outputs(r.size, r.packed, layer, {0, r.packed.steps()}, packed_mask.data(),
               packed_mask.data(), 0, 1);
  r.packed.unpack(packed_mask.data(), width, mask, 0, 1);
}

template <class T>
void network_zoneout_mask(const Reserve<T>& r, Index i, int s, T* mask) {
  const NetworkSize& size = r.size;
  const Index H = size.state_size(s), D = size.num_directions;
  for (Index t = 0; t < size.seq_len; ++t)
    for (Index b = 0; b < size.batch; ++b, mask += H) {
      if (!size.draws_noise()) {
        std::fill_n(mask, H, T(1 - size.noise.zoneout[s]));
        continue;
      }
      const auto words = noise_mask<T>(size.noise.zoneout[s], size.seed, noise_cell(i / D, i % D),
                                       kZoneout + unsigned(s), t);
      dense<T>().dropout(nullptr, noise_row(b), H, words, mask);
      std::transform(mask, mask + H, mask, [](T kept) { return T(kept != 0); });
    }
}

template <class T>
void network_input_mask(const Reserve<T>& r, Index layer, T* mask) {
  const Index width = r.size.layer_input(layer), count = r.size.batch * width;
  if (!r.size.drops_inputs()) return void(std::fill_n(mask, count, T(1)));
  for (Index b = 0; b < r.size.batch; ++b) input_mask(r.size, layer, b, mask + b * width);
}

template <class T>
void network_recurrent_mask(const Reserve<T>& r, Index i, T* mask) {
  const NetworkSize& size = r.size;
  const Index H = size.h_size(), D = size.num_directions;
  const double p = size.draws_noise() ? size.noise.recurrent_dropout : 0;
  const auto words = noise_mask<T>(p, size.seed, noise_cell(i / D, i % D), kRecurrentDropout);
  for (Index b = 0; b < size.batch; ++b)
    dense<T>().dropout(nullptr, noise_row(b), H, words, mask + b * H);
}

template <class T>
void network_candidate_mask(const Reserve<T>& r, Index i, T* mask) {
  const NetworkSize& size = r.size;
  const Index H = size.hidden_size, D = size.num_directions;
  const double p = size.draws_noise() ? size.noise.candidate_dropout : 0;
  for (Index t = 0; t < size.seq_len; ++t) {
    const auto words = noise_mask<T>(p, size.seed, noise_cell(i / D, i % D), kCandidateDropout, t);
    for (Index b = 0; b < size.batch; ++b, mask += H)
      dense<T>().dropout(nullptr, noise_row(b), H, words, mask);
  }
}

#define INSTANTIATE(T)                                                                             \
  template void drop_outputs(const NetworkSize&, const PackedBatch&, Index, StepRange, const T*,   \
                             T*, int, int);                                                        \
  template void drop_inputs(const NetworkSize&, const PackedBatch&, Index, const T*, const Index*, \
                            T*, T*, int, int);                                                     \
  template void network_dropout_mask(const Reserve<T>&, Index, T*);                                \
  template void network_zoneout_mask(const Reserve<T>&, Index, int, T*);                           \
  template void network_input_mask(const Reserve<T>&, Index, T*);                                  \
  template void network_recurrent_mask(const Reserve<T>&, Index, T*);                              \
  template void network_candidate_mask(const Reserve<T>&, Index, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
