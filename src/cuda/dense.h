#pragma once
// The work outside recurrent layers on the device: rows looked up in tables and their gradient,
// softmax cross-entropy, dropout. The functions only launch: they neither wait nor allocate, and
// return the same bits in every run. They cannot report what would be an error on the host: an
// index out of range yields NaN and touches no memory.

#include <cstddef>
#include <cstdint>

#include "core/dropout.h"
#include "core/index.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

// Element (i, j) of a table is at values[i * row_stride + j * column_stride]. An embedding's weight
// is such a table; for a recurrent layer with indices as input, the table is weight_ih transposed.
template <class T>
struct Table {
  T* values;
  int rows, columns;
  Index row_stride, column_stride;
};

// y[n][j] = table(indices[n], j) + bias[j] for n in [0, count); bias may be null. Rows of y are
// `ldy` values apart. `bfloat16` rounds the table's values.
void gather_rows(const Table<const float>& table, bool bfloat16, const std::int64_t* indices,
                 int count, const float* bias, float* y, int ldy, cudaStream_t stream);

// table(indices[n], j) += dy[n][j], in the order of n. `workspace` is scatter_workspace(count)
// bytes.
void scatter_rows(const float* dy, int lddy, const std::int64_t* indices, int count,
                  const Table<float>& table, void* workspace, cudaStream_t stream);
std::size_t scatter_workspace(int count);

// Copies from to to, both (steps, batch, width), with zeros from step lengths[b] of sequence b on.
void copy_masked(const float* from, const int* lengths, int steps, int batch, int width, float* to,
                 cudaStream_t stream);

// to[i][j] = from[i][j] or, if `add`, += from[i][j], for `count` rows of `width` values, `ldfrom`
// and `ldto` apart.
void copy_rows(const float* from, int ldfrom, Index count, int width, bool add, float* to, int ldto,
               cudaStream_t stream);

// losses[n] = logsumexp(logits[n]) - logits[n][targets[n]], or 0 where targets[n] is ignore_index;
// result[0] = their mean over the targets that are not ignored (NaN if all are), result[1] = the
// number of these. dlogits, unless null, is the gradient of the mean. Logits are (rows, classes)
// without gaps.
void cross_entropy(const float* logits, const std::int64_t* targets, int rows, int classes,
                   std::int64_t ignore_index, float* losses, float* dlogits, double* result,
                   cudaStream_t stream);

// to[i] = from[i] with dropout, for i in [0, count). May work in place.
void dropout(const float* from, Index count, const Dropout<float>& dropout, float* to,
             cudaStream_t stream);

}  // namespace rnnfast::cuda
