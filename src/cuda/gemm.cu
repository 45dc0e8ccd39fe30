#include "core/error.h"
#include "cuda/bfloat16.cuh"
#include "cuda/cublas.h"
#include "cuda/device.cuh"
#include "cuda/gemm.h"

namespace rnnfast::cuda {
namespace {

// ---- the product: a block computes a tile of C, a thread 8 x 8 values of it

constexpr int kTile = 64;     // rows and columns of C
constexpr int kDepth = 16;    // of the slices of A and B in shared memory
constexpr int kThreads = 64;  // 8 x 8
// A slice is [depth][kTile]; with four more columns, copies across have only two-way bank
// conflicts.
constexpr int kStride = kTile + 4;
constexpr int kCopies = kTile * kDepth / kThreads;  // values of a slice per thread

struct Slices {
  alignas(16) float values[2][2][kDepth * kStride];  // [turn][A or B]
};

// Loads a tile's rows of op(A), or columns of op(B), a slice of the depth at a time. Each thread
// copies kCopies values, which are next to those of other threads both in memory and in the slice.
struct Loader {
  const float* from;
  int rows;              // of the tile inside the matrix
  int depth;             // of the matrix
  int row, k;            // the first place of this thread
  int row_step, k_step;  // to the next one
  Index step, slice;     // in memory, from place to place and from slice to slice
  int place, place_step;

  // `by_depth`: adjacent values in memory are adjacent in depth.
  RNNFAST_DEVICE Loader(const float* matrix, int ld, bool by_depth, int first, int end, int depth)
      : rows(end - first), depth(depth) {
    const int thread = threadIdx.x;
    row = by_depth ? thread / kDepth : thread;
    k = by_depth ? thread % kDepth : 0;
    row_step = by_depth ? kThreads / kDepth : 0;
    k_step = by_depth ? 0 : 1;
    const Index row_stride = by_depth ? ld : 1, k_stride = by_depth ? 1 : ld;
    from = matrix + (first + row) * row_stride + k * k_stride;
    step = row_step * row_stride + k_step * k_stride;
    slice = kDepth * k_stride;
    place = k * kStride + row;
    place_step = k_step * kStride + row_step;
  }

  // Starts to copy the next slice, with zeros outside the matrix.
  RNNFAST_DEVICE void next(float* to) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      float* at = to + place + i * place_step;
      if (row + i * row_step < rows && k + i * k_step < depth)
        copy_async<4>(at, from + i * step);
      else
        *at = 0;
    }
    from += slice;
    depth -= kDepth;
  }

  // Rounds what this thread copied.
  RNNFAST_DEVICE void round(float* slice) const {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      float& value = slice[place + i * place_step];
      value = rounded(value);
    }
  }
};

// The row or column of C of a thread's value i: two runs of four, so that a warp's reads of a slice
// hit all banks.
RNNFAST_DEVICE int tile_index(int lane, int i) { return i / 4 * (kTile / 2) + 4 * lane + i % 4; }

RNNFAST_DEVICE void load_eight(const float* row, int lane, float (&values)[8]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float4 four = *reinterpret_cast<const float4*>(row + tile_index(lane, 4 * half));
    values[4 * half] = four.x;
    values[4 * half + 1] = four.y;
    values[4 * half + 2] = four.z;
    values[4 * half + 3] = four.w;
  }
}

}  // namespace

// Kernels have external names, by which the tests' second tier finds them.
__global__ void __launch_bounds__(kThreads)
    gemm_kernel(GemmShape s, const float* a, const float* b, const float* bias, float* c) {
  RNNFAST_SHARED(Slices, shared);
  const int first_row = blockIdx.x * kTile, first_column = blockIdx.y * kTile;
  const int thread_row = threadIdx.x / 8, thread_column = threadIdx.x % 8;
  Loader load_a(a, s.lda, !s.transpose_a, first_row, s.m, s.k);
  Loader load_b(b, s.ldb, s.transpose_b, first_column, s.n, s.k);
  float sums[8][8] = {};
  load_a.next(shared.values[0][0]);
  load_b.next(shared.values[0][1]);
  copy_commit();
  for (int first = 0, turn = 0; first < s.k; first += kDepth, turn ^= 1) {
    float *slice_a = shared.values[turn][0], *slice_b = shared.values[turn][1];
    copy_wait<0>();
    if (s.bfloat16) {
      load_a.round(slice_a);
      load_b.round(slice_b);
    }
    // Wait until this slice is complete and no thread reads the previous one.
    __syncthreads();
    if (first + kDepth < s.k) {
      load_a.next(shared.values[turn ^ 1][0]);
      load_b.next(shared.values[turn ^ 1][1]);
      copy_commit();
    }
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float x[8], y[8];
      load_eight(slice_a + k * kStride, thread_row, x);
      load_eight(slice_b + k * kStride, thread_column, y);
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first_row + tile_index(thread_row, i);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int column = first_column + tile_index(thread_column, j);
      if (row >= s.m || column >= s.n) continue;
      float& to = c[Index(row) * s.ldc + column];
      float value = sums[i][j];
      if (bias) value += bias[column];
      if (s.beta != 0) value = fmaf(s.beta, to, value);
      to = value;
    }
  }
}

// ---- bias for cuBLAS

__global__ void bias_kernel(GemmShape s, const float* bias, float* c) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= Index(s.m) * s.n) return;
  const Index row = i / s.n, column = i % s.n;
  float& to = c[row * s.ldc + column];
  to = s.beta != 0 ? fmaf(s.beta, to, bias[column]) : bias[column];
}

namespace {

#ifdef __CUDACC__
const Cublas* library() { return Cublas::find(); }
int current_device() {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  RNNFAST_CHECK(error == cudaSuccess, "cudaGetDevice: ", cudaGetErrorString(error));
  return device;
}
#else
const Cublas* library() { return nullptr; }
int current_device() { return 0; }
#endif

// ---- sums of columns

constexpr int kSumColumns = 8;  // per block: 32 bytes of a row, which memory fetches at once
constexpr int kSumThreads = 256;
constexpr int kSumWarps = kSumThreads / 32;
constexpr int kSumRows = kSumThreads / kSumColumns;  // read at a time
constexpr int kSumChains = 4;                        // sums per thread, to keep loads in flight

struct ColumnSums {
  float values[kSumWarps][kSumColumns];
};

}  // namespace

__global__ void __launch_bounds__(kSumThreads)
    column_sum_kernel(const float* a, int rows, int columns, int lda, float beta, float* out) {
  RNNFAST_SHARED(ColumnSums, shared);
  const int lane = threadIdx.x % kSumColumns, column = blockIdx.x * kSumColumns + lane;
  float sums[kSumChains] = {};
  if (column < columns) {
    const float* from = a + column;
    for (Index row = threadIdx.x / kSumColumns; row < rows; row += kSumChains * kSumRows)
#pragma unroll
      for (int i = 0; i < kSumChains; ++i)
        if (row + i * kSumRows < rows) sums[i] += from[(row + i * kSumRows) * lda];
  }
  float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  sum += __shfl_xor_sync(0xffffffffu, sum, 8);
  sum += __shfl_xor_sync(0xffffffffu, sum, 16);
  if (threadIdx.x % 32 < kSumColumns) shared.values[threadIdx.x / 32][lane] = sum;
  __syncthreads();
  if (threadIdx.x >= kSumColumns || column >= columns) return;
  float total = 0;
  for (int warp = 0; warp < kSumWarps; ++warp) total += shared.values[warp][lane];
  out[column] = beta != 0 ? fmaf(beta, out[column], total) : total;
}

void gemm(const GemmShape& s, const float* a, const float* b, const float* bias, float* c,
          cudaStream_t stream) {
  RNNFAST_CHECK(s.m >= 0 && s.n >= 0 && s.k >= 0, "gemm: expected sizes >= 0, got ", s.m, ", ", s.n,
                ", ", s.k);
  RNNFAST_CHECK(s.lda >= (s.transpose_a ? s.m : s.k),
                "gemm: expected lda >= ", s.transpose_a ? s.m : s.k, ", got ", s.lda);
  RNNFAST_CHECK(s.ldb >= (s.transpose_b ? s.k : s.n),
                "gemm: expected ldb >= ", s.transpose_b ? s.k : s.n, ", got ", s.ldb);
  RNNFAST_CHECK(s.ldc >= s.n, "gemm: expected ldc >= ", s.n, ", got ", s.ldc);
  if (s.m == 0 || s.n == 0) return;
  const Cublas* cublas = library();
  if (!cublas || s.k == 0) {
    launch({.grid = {blocks_for(s.m, kTile), blocks_for(s.n, kTile)},
            .block = kThreads,
            .stream = stream},
           gemm_kernel, s, a, b, bias, c);
    return;
  }
  if (bias)
    launch({.grid = blocks_for(Index(s.m) * s.n, 256), .block = 256, .stream = stream}, bias_kernel,
           s, bias, c);
  cublas->gemm(s, bias ? 1 : s.beta, a, b, c, current_device(), stream);
}

std::string gemm_library() {
  const Cublas* cublas = library();
  return cublas ? "cuBLAS " + cublas->version() : "rnnfast";
}

void column_sum(const float* a, int rows, int columns, int lda, float beta, float* out,
                cudaStream_t stream) {
  RNNFAST_CHECK(lda >= columns, "column_sum: expected lda >= ", columns, ", got ", lda);
  if (columns == 0) return;
  launch({.grid = blocks_for(columns, kSumColumns), .block = kSumThreads, .stream = stream},
         column_sum_kernel, a, rows, columns, lda, beta, out);
}

}  // namespace rnnfast::cuda
