// Products, rows of tables, cross-entropy and dropout, by address.
#include "cuda/dense.h"

#include <string>

#include "cuda/bindings/address.h"
#include "cuda/bindings/module.h"
#include "cuda/cublas.h"
#include "cuda/gemm.h"

namespace py = pybind11;

namespace rnnfast::cuda {
namespace {

void bind_products(py::module_& m) {
  using py::arg;
  m.def("set_cublas_folder", &Cublas::set_folder, arg("folder"),
        "Set the folder of cuBLAS; call it before the first product.");
  m.def("gemm_library", &gemm_library,
        "Return the library that computes products: cuBLAS with its version, or rnnfast.");
  m.def(
      "gemm",
      [](Address a, Address b, Address c, int m, int n, int k, int lda, int ldb, int ldc,
         bool transpose_a, bool transpose_b, float beta, Address bias, bool bfloat16,
         Address stream) {
        gemm({transpose_a, transpose_b, m, n, k, lda, ldb, ldc, beta, bfloat16},
             pointer<const float>(a), pointer<const float>(b), pointer<const float>(bias),
             pointer<float>(c), stream_at(stream));
      },
      py::kw_only(), arg("a"), arg("b"), arg("c"), arg("m"), arg("n"), arg("k"), arg("lda"),
      arg("ldb"), arg("ldc"), arg("transpose_a") = false, arg("transpose_b") = false,
      arg("beta") = 0.f, arg("bias") = 0, arg("bfloat16") = false, arg("stream") = 0,
      "Compute C = op(A) op(B) + beta C + bias, for row-major matrices; bias is added to every "
      "row.");
  m.def(
      "column_sum",
      [](Address a, int rows, int columns, int lda, Address out, float beta, Address stream) {
        column_sum(pointer<const float>(a), rows, columns, lda, beta, pointer<float>(out),
                   stream_at(stream));
      },
      py::kw_only(), arg("a"), arg("rows"), arg("columns"), arg("lda"), arg("out"),
      arg("beta") = 0.f, arg("stream") = 0,
      "Compute out = beta out + the sums of the columns of a.");
}

template <class T>
Table<T> table_at(Address values, int rows, int columns, bool transposed) {
  return {pointer<T>(values), rows, columns, transposed ? 1 : columns, transposed ? rows : 1};
}

void bind_rows(py::module_& m) {
  using py::arg;
  m.def(
      "gather_rows",
      [](Address table, int table_rows, int columns, bool transposed, Address indices, int count,
         Address bias, Address y, int ldy, Address stream) {
        gather_rows(table_at<const float>(table, table_rows, columns, transposed), false,
                    pointer<const std::int64_t>(indices), count, pointer<const float>(bias),
                    pointer<float>(y), ldy, stream_at(stream));
      },
      py::kw_only(), arg("table"), arg("table_rows"), arg("columns"), arg("transposed") = false,
      arg("indices"), arg("count"), arg("bias") = 0, arg("y"), arg("ldy"), arg("stream") = 0,
      "Compute y = table[indices] + bias, with int64 indices. In memory the table is (table_rows, "
      "columns) or, transposed, (columns, table_rows).");
  m.def("scatter_workspace", &scatter_workspace, arg("count"),
        "Return the number of bytes of workspace that scatter_rows needs.");
  m.def(
      "scatter_rows",
      [](Address dy, int lddy, Address indices, int count, Address table, int table_rows,
         int columns, bool transposed, Address workspace, Address stream) {
        scatter_rows(pointer<const float>(dy), lddy, pointer<const std::int64_t>(indices), count,
                     table_at<float>(table, table_rows, columns, transposed),
                     pointer<void>(workspace), stream_at(stream));
      },
      py::kw_only(), arg("dy"), arg("lddy"), arg("indices"), arg("count"), arg("table"),
      arg("table_rows"), arg("columns"), arg("transposed") = false, arg("workspace"),
      arg("stream") = 0, "Compute table[indices] += dy, for tables as in gather_rows.");
  m.def(
      "copy_masked",
      [](Address from, Address lengths, int steps, int batch, int width, Address to,
         Address stream) {
        copy_masked(pointer<const float>(from), pointer<const int>(lengths), steps, batch, width,
                    pointer<float>(to), stream_at(stream));
      },
      py::kw_only(), arg("from_"), arg("lengths"), arg("steps"), arg("batch"), arg("width"),
      arg("to"), arg("stream") = 0,
      "Copy an array (steps, batch, width), with zeros after the end of each sequence; lengths are "
      "int32.");
}

}  // namespace

void bind_dense(py::module_& m) {
  using py::arg;
  bind_products(m);
  bind_rows(m);
  m.def(
      "cross_entropy",
      [](Address logits, Address targets, int rows, int classes, std::int64_t ignore_index,
         Address losses, Address dlogits, Address result, Address stream) {
        cross_entropy(pointer<const float>(logits), pointer<const std::int64_t>(targets), rows,
                      classes, ignore_index, pointer<float>(losses), pointer<float>(dlogits),
                      pointer<double>(result), stream_at(stream));
      },
      py::kw_only(), arg("logits"), arg("targets"), arg("rows"), arg("classes"),
      arg("ignore_index"), arg("losses"), arg("dlogits") = 0, arg("result"), arg("stream") = 0,
      "Write the mean loss, and the number of targets other than ignore_index, to result (2,), "
      "float64; the loss of each row to losses (rows,); and, if asked for, the gradient of the "
      "mean to dlogits. Targets are int64.");
  m.def(
      "dropout",
      [](Address from, Index count, double p, std::uint64_t seed, unsigned layer, Address to,
         Address stream) {
        dropout(pointer<const float>(from), count, Dropout<float>(p, seed, layer),
                pointer<float>(to), stream_at(stream));
      },
      py::kw_only(), arg("from_"), arg("count"), arg("p"), arg("seed"), arg("layer"), arg("to"),
      arg("stream") = 0, "Copy from `from_` to `to`, dropping each element with probability p.");
}

}  // namespace rnnfast::cuda
