#include "core/error.h"
#include "cuda/bfloat16.cuh"
#include "cuda/dense.h"
#include "cuda/device.cuh"
#include "cuda/reduce.cuh"
#include "cuda/sort.h"

namespace rnnfast::cuda {

// ---- rows of tables. A warp has 32 columns of a row, so indices are the same for its lanes.

constexpr int kRowWarps = 8;  // of a block

__global__ void __launch_bounds__(32 * kRowWarps)
    gather_kernel(Table<const float> table, bool bfloat16, const int64_t* indices, int count,
                  const float* bias, float* y, int ldy) {
  const Index n = Index(blockIdx.x) * kRowWarps + threadIdx.y;
  const int column = blockIdx.y * 32 + threadIdx.x;
  if (n >= count || column >= table.columns) return;
  const int64_t index = indices[n];
  float value = __int_as_float(0x7fc00000);  // NaN
  if (index >= 0 && index < table.rows)
    value = table.values[index * table.row_stride + column * table.column_stride];
  if (bfloat16) value = rounded(value);
  y[n * ldy + column] = bias ? value + bias[column] : value;
}

// A key is an index and its position n, so that sorted keys list each index's positions in order.
constexpr unsigned kNoIndex = ~0u;  // sorts after all others

__global__ void __launch_bounds__(kSortBlock)
    key_kernel(const int64_t* indices, int count, Index rows, uint64_t* keys) {
  const Index n = Index(blockIdx.x) * kSortBlock + threadIdx.x;
  const int64_t index = n < count ? indices[n] : -1;
  const bool good = index >= 0 && index < rows;
  keys[n] = uint64_t(good ? unsigned(index) : kNoIndex) << 32 | unsigned(n);
}

__global__ void __launch_bounds__(32 * kRowWarps)
    scatter_kernel(const float* dy, int lddy, const uint64_t* keys, int count, Table<float> table) {
  constexpr int kLoads = 8;  // in flight at a time
  const Index first = Index(blockIdx.x) * kRowWarps + threadIdx.y;
  const int column = blockIdx.y * 32 + threadIdx.x;
  if (first >= count || column >= table.columns) return;
  const unsigned index = unsigned(keys[first] >> 32);
  // The warp at the first of an index's keys adds up the rows of all of them.
  if (index == kNoIndex || (first > 0 && unsigned(keys[first - 1] >> 32) == index)) return;
  float sum = 0;
  bool same = true;
  for (Index i = first; same; i += kLoads) {
    float values[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const uint64_t key = keys[min(i + j, Index(count) - 1)];
      same = same && i + j < count && unsigned(key >> 32) == index;
      values[j] = same ? dy[Index(unsigned(key)) * lddy + column] : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < kLoads; ++j) sum += values[j];
  }
  table.values[index * table.row_stride + column * table.column_stride] += sum;
}

__global__ void __launch_bounds__(32 * kRowWarps)
    copy_masked_kernel(const float* from, const int* lengths, Index rows, int batch, int width,
                       float* to) {
  const Index row = Index(blockIdx.x) * kRowWarps + threadIdx.y;
  const int column = blockIdx.y * 32 + threadIdx.x;
  if (row >= rows || column >= width) return;
  const bool inside = row / batch < lengths[row % batch];
  to[row * width + column] = inside ? from[row * width + column] : 0.0f;
}

__global__ void __launch_bounds__(32 * kRowWarps)
    copy_rows_kernel(const float* from, int ldfrom, Index count, int width, bool add, float* to,
                     int ldto) {
  const Index row = Index(blockIdx.x) * kRowWarps + threadIdx.y;
  const int column = blockIdx.y * 32 + threadIdx.x;
  if (row >= count || column >= width) return;
  float& target = to[row * ldto + column];
  target = from[row * ldfrom + column] + (add ? target : 0.0f);
}

// ---- softmax cross-entropy: one block counts the targets, a warp computes a row, one block adds
// up

__global__ void __launch_bounds__(kReduceThreads)
    count_kernel(const int64_t* targets, int rows, int64_t ignore_index, double* result) {
  int count = 0;
  for (Index n = threadIdx.x; n < rows; n += kReduceThreads) count += targets[n] != ignore_index;
  const double total = block_sum(count);
  if (threadIdx.x == 0) result[1] = total;
}

template <class Combine>
RNNFAST_DEVICE float warp_fold(float value, Combine combine) {
  for (int distance = 16; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

struct Larger {
  RNNFAST_DEVICE float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  RNNFAST_DEVICE float operator()(float a, float b) const { return a + b; }
};

// Adds only a few values at a time, so that the error does not grow with the number of classes.
RNNFAST_DEVICE float exp_sum(const float* x, int classes, float shift, int lane) {
  constexpr int kSpan = 32 * 32;
  float sum = 0;
  for (int first = 0; first < classes; first += kSpan) {
    float part = 0;
    for (int i = first + lane; i < min(first + kSpan, classes); i += 32) part += expf(x[i] - shift);
    sum += part;
  }
  return warp_fold(sum, Sum{});
}

__global__ void __launch_bounds__(32 * kRowWarps)
    cross_entropy_kernel(const float* logits, const int64_t* targets, int rows, int classes,
                         int64_t ignore_index, const double* result, float* losses,
                         float* dlogits) {
  const Index n = Index(blockIdx.x) * kRowWarps + threadIdx.y;
  if (n >= rows) return;
  const int lane = threadIdx.x;
  const int64_t target = targets[n];
  const float* x = logits + n * classes;
  float* dx = dlogits ? dlogits + n * classes : nullptr;
  if (target == ignore_index) {
    if (lane == 0) losses[n] = 0;
    if (dx)
      for (int i = lane; i < classes; i += 32) dx[i] = 0;
    return;
  }
  float largest = x[min(lane, classes - 1)];
  for (int i = lane + 32; i < classes; i += 32) largest = fmaxf(largest, x[i]);
  largest = warp_fold(largest, Larger{});
  const float sum = exp_sum(x, classes, largest, lane);
  const bool good = target >= 0 && target < classes;
  if (lane == 0) losses[n] = good ? logf(sum) - (x[target] - largest) : __int_as_float(0x7fc00000);
  if (!dx) return;
  const float scale = good ? float(1 / result[1]) : __int_as_float(0x7fc00000);
  const float factor = scale / sum;
  for (int i = lane; i < classes; i += 32)
    dx[i] = expf(x[i] - largest) * factor - (i == target ? scale : 0.0f);
}

__global__ void __launch_bounds__(kReduceThreads)
    mean_kernel(const float* losses, int rows, double* result) {
  double sum = 0;
  for (Index n = threadIdx.x; n < rows; n += kReduceThreads) sum += losses[n];
  sum = block_sum(sum);
  if (threadIdx.x == 0) result[0] = sum / result[1];  // 0 / 0 is NaN
}

// ---- dropout: a thread has the elements of one counter

constexpr int kDropoutThreads = 256;

__global__ void __launch_bounds__(kDropoutThreads)
    dropout_kernel(const float* from, Index count, Dropout<float> dropout, float* to) {
  const Index block = Index(blockIdx.x) * kDropoutThreads + threadIdx.x;
  unsigned words[Dropout<float>::kBlock];
  dropout.words(block, words);
#pragma unroll
  for (int j = 0; j < Dropout<float>::kBlock; ++j) {
    const Index i = block * Dropout<float>::kBlock + j;
    if (i < count) to[i] = dropout.apply(from[i], words[j]);
  }
}

// ---- host

namespace {

Launch rows_launch(Index rows, int columns, cudaStream_t stream) {
  return {.grid = {blocks_for(rows, kRowWarps), blocks_for(columns, 32)},
          .block = {32, kRowWarps},
          .stream = stream};
}

Index sorted_keys(int count) {
  Index keys = kSortBlock;
  while (keys < count) keys *= 2;
  return keys;
}

}  // namespace

void gather_rows(const Table<const float>& table, bool bfloat16, const int64_t* indices, int count,
                 const float* bias, float* y, int ldy, cudaStream_t stream) {
  RNNFAST_CHECK(ldy >= table.columns, "gather_rows: expected ldy >= ", table.columns, ", got ",
                ldy);
  if (count == 0 || table.columns == 0) return;
  launch(rows_launch(count, table.columns, stream), gather_kernel, table, bfloat16, indices, count,
         bias, y, ldy);
}

std::size_t scatter_workspace(int count) { return sizeof(uint64_t) * sorted_keys(count); }

void scatter_rows(const float* dy, int lddy, const int64_t* indices, int count,
                  const Table<float>& table, void* workspace, cudaStream_t stream) {
  RNNFAST_CHECK(lddy >= table.columns, "scatter_rows: expected lddy >= ", table.columns, ", got ",
                lddy);
  if (count == 0 || table.columns == 0) return;
  auto* keys = static_cast<uint64_t*>(workspace);
  const Index size = sorted_keys(count);
  launch({.grid = blocks_for(size, kSortBlock), .block = kSortBlock, .stream = stream}, key_kernel,
         indices, count, table.rows, keys);
  sort(keys, size, stream);
  launch(rows_launch(count, table.columns, stream), scatter_kernel, dy, lddy, keys, count, table);
}

void copy_masked(const float* from, const int* lengths, int steps, int batch, int width, float* to,
                 cudaStream_t stream) {
  const Index rows = Index(steps) * batch;
  if (rows == 0 || width == 0) return;
  launch(rows_launch(rows, width, stream), copy_masked_kernel, from, lengths, rows, batch, width,
         to);
}

void copy_rows(const float* from, int ldfrom, Index count, int width, bool add, float* to, int ldto,
               cudaStream_t stream) {
  if (count == 0 || width == 0) return;
  launch(rows_launch(count, width, stream), copy_rows_kernel, from, ldfrom, count, width, add, to,
         ldto);
}

void cross_entropy(const float* logits, const int64_t* targets, int rows, int classes,
                   int64_t ignore_index, float* losses, float* dlogits, double* result,
                   cudaStream_t stream) {
  RNNFAST_CHECK(classes >= 1, "cross_entropy: expected classes >= 1, got ", classes);
  const Launch one{.grid = 1, .block = kReduceThreads, .stream = stream};
  launch(one, count_kernel, targets, rows, ignore_index, result);
  if (rows > 0)
    launch(rows_launch(rows, 1, stream), cross_entropy_kernel, logits, targets, rows, classes,
           ignore_index, result, losses, dlogits);
  launch(one, mean_kernel, losses, rows, result);
}

void dropout(const float* from, Index count, const Dropout<float>& dropout, float* to,
             cudaStream_t stream) {
  if (count == 0) return;
  launch({.grid = blocks_for(count, kDropoutThreads * Dropout<float>::kBlock),
          .block = kDropoutThreads,
          .stream = stream},
         dropout_kernel, from, count, dropout, to);
}

}  // namespace rnnfast::cuda
