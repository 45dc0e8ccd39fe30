#pragma once
// Products of matrices and sums of columns on the device. Matrices are row-major float arrays. The
// functions only launch: they neither wait nor allocate, and return the same bits in every run.

#include <string>

#include "cuda/stream.h"

namespace rnnfast::cuda {

// op(A) is (m, k), op(B) is (k, n), C is (m, n); op(X) is X, or its transpose. `ld*` are the row
// strides of the arrays in memory.
struct GemmShape {
  bool transpose_a = false, transpose_b = false;
  int m, n, k;
  int lda, ldb, ldc;
  float beta = 0;
  bool bfloat16 = false;  // round operands to bfloat16; sums stay float
};

// C = op(A) op(B) + beta C + bias in every row; bias (n,) may be null. C is not read if beta is 0.
// Uses cuBLAS if it was found (cublas.h), otherwise our own kernel, as always in the emulator.
void gemm(const GemmShape& shape, const float* a, const float* b, const float* bias, float* c,
          cudaStream_t stream);

// The library that `gemm` uses: "cuBLAS 13.1.0", or "rnnfast".
std::string gemm_library();

// out[j] = beta out[j] + the sum of a[i][j] over all rows. `out` is not read if beta is 0.
void column_sum(const float* a, int rows, int columns, int lda, float beta, float* out,
                cudaStream_t stream);

}  // namespace rnnfast::cuda
