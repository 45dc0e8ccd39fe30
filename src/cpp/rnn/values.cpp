#include "rnn/values.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/threads.h"
#include "cpu/dispatch.h"

namespace rnnfast {
namespace {

constexpr double kBytesPerThread = 1 << 20;

constexpr int kStepBytes = 32;

// Copies a step of bytes. Those to multiples of 16 go past the cache: nobody reads them soon, and
// to load their lines first would double the time.
void copy_step(const void* from, void* to, [[maybe_unused]] bool aligned) {
#ifdef __SSE2__
  if (aligned) {
    const auto* source = static_cast<const __m128i*>(from);
    auto* target = static_cast<__m128i*>(to);
    _mm_stream_si128(target, _mm_loadu_si128(source));
    _mm_stream_si128(target + 1, _mm_loadu_si128(source + 1));
    return;
  }
#endif
  std::memcpy(to, from, kStepBytes);
}

// Makes the copies visible to other threads.
void finish_steps() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

// Where a value lies in the reserve: at from + tile * tile_stride + row * row_stride.
template <class T>
struct TiledValue {
  const T* from;
  Index tile_stride, row_stride, width;
  T* to;

  // Copies a row of tiles of `units`.
  void copy_row(Index row, Index units, T* target) const {
    constexpr Index kStep = kStepBytes / sizeof(T),
                    kAhead = 8;  // rows to prefetch: tiles are far apart
    const bool aligned = reinterpret_cast<std::uintptr_t>(target) % 16 == 0;
    const T* tile = from + row * row_stride;
    for (Index unit = 0; unit < width; unit += units, tile += tile_stride) {
      __builtin_prefetch(tile + kAhead * row_stride);
      const Index n = std::min(units, width - unit);
      Index k = 0;
      for (; k + kStep <= n; k += kStep) copy_step(tile + k, target + unit + k, aligned);
      for (; k < n; ++k) target[unit + k] = tile[k];
    }
  }
};

template <class T>
TiledValue<T> tiled_value(const Reserve<T>& r, Index i, const ValueOverTime<T>& value) {
  const NetworkSize& size = r.size;
  const CellKernels<T>& cell = kernels<T>(size.cell, size.precision);
  const Index H = size.hidden_size, R = size.h_size(), U = cell.tile_units;
  if (value.from == ValueOverTime<T>::kSlot) {
    const Index row = cell.info.slots() * U;
    return {r.gates[i] + value.index * U, r.packed.total() * row, row, H, value.to};
  }
  if (value.index == 0)
    return {r.outputs[i / size.num_directions] + i % size.num_directions * R, U, size.y_size(), R,
            value.to};
  const Index rows = r.layer_size(r.segments[0][0].rows, 0, 0, true, false).state_rows();
  const Index tiles = (H + U - 1) / U;
  const T* states = r.states[i] + ((value.index - 1) * tiles * rows + r.packed.episodes()) * U;
  return {states, rows * U, U, H, value.to};
}

}  // namespace

template <class T>
void network_values(const Reserve<T>& r, Index i, std::span<const ValueOverTime<T>> values) {
  const PackedBatch& packed = r.packed;
  const Index padded = r.size.seq_len * r.size.batch;
  const Index U = kernels<T>(r.size.cell, r.size.precision).tile_units;
  std::vector<TiledValue<T>> tiled;
  for (const ValueOverTime<T>& value : values) tiled.push_back(tiled_value(r, i, value));
  const double bytes = double(packed.total() * r.size.hidden_size) * sizeof(T);
  const double wanted = bytes * double(tiled.size()) / kBytesPerThread;
  const int threads = int(std::clamp(wanted, 1., double(num_threads())));
  parallel(threads, [&](const Team& team, int thread) {
    const Index end = padded * (thread + 1) / team.size;
    for (Index p = padded * thread / team.size; p < end; ++p)
      for (const TiledValue<T>& v : tiled) {
        T* to = v.to + p * v.width;
        if (const Index row = packed.row_of(p); row >= 0)
          v.copy_row(row, U, to);
        else
          std::fill_n(to, v.width, T(0));
      }
    finish_steps();
  });
}

template void network_values(const Reserve<float>&, Index, std::span<const ValueOverTime<float>>);
template void network_values(const Reserve<double>&, Index, std::span<const ValueOverTime<double>>);

}  // namespace rnnfast
