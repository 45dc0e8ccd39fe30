#pragma once
// The work around recurrent layers on the device: rows looked up in tables and their gradient,
// softmax cross-entropy, dropout. The functions only launch: they neither wait nor allocate, and
// give the same bits in every run. What would be an error on the host cannot be told from here: an
// index out of range gives NaN and touches no memory.

#include <cstddef>
#include <cstdint>

#include "core/dropout.h"
#include "cuda/stream.h"

namespace rnnfast::cuda {

// Element (i, j) of a table is at values[i * row_stride + j * column_stride]. An embedding is its
// own table; the table of a recurrent layer whose input is indices is weight_ih transposed.
template <class T>
struct Table {
  T* values;
  int rows, columns;
  long row_stride, column_stride;
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

// to = from, both (steps, batch, width), with zeros at the steps that are not before a sequence's
// length, of which there is one in `lengths` for each.
void copy_masked(const float* from, const int* lengths, int steps, int batch, int width, float* to,
                 cudaStream_t stream);

// to[i][j] = from[i][j], or that is added to it, for `count` rows of `width` values, `ldfrom` and
// `ldto` apart.
void copy_rows(const float* from, int ldfrom, long count, int width, bool add, float* to, int ldto,
               cudaStream_t stream);

// losses[n] = logsumexp(logits[n]) - logits[n][targets[n]], or 0 where targets[n] is ignore_index;
// result[0] = their mean over the targets that are not ignored (NaN if there is none), result[1] =
// the number of those. dlogits, unless null, is the gradient of the mean. Logits are (rows,
// classes) without gaps.
void cross_entropy(const float* logits, const std::int64_t* targets, int rows, int classes,
                   std::int64_t ignore_index, float* losses, float* dlogits, double* result,
                   cudaStream_t stream);

// to[i] = the dropped from[i], for i in [0, count). May work in place.
void dropout(const float* from, long count, const Dropout<float>& dropout, float* to,
             cudaStream_t stream);

}  // namespace rnnfast::cuda
