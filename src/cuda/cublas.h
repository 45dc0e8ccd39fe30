#pragma once
// cuBLAS, loaded at run time, because a wheel should not carry its half gigabyte. The search covers
// the libraries already loaded in the process, then the given folder, then the system's paths.

#include <string>

#include "cuda/gemm.h"

namespace rnnfast::cuda {

class Cublas {
 public:
  // The library, or null if there is none. Searches once.
  static const Cublas* find();
  // Sets the folder to search, e.g. nvidia/cu13/lib of the package nvidia-cublas. Throws once
  // `find` has been called.
  static void set_folder(const std::string& folder);

  std::string version() const;
  // C = op(A) op(B) + beta C on a device and stream. "highest" precision for floats: no TF32.
  void gemm(const GemmShape& shape, float beta, const float* a, const float* b, float* c,
            int device, cudaStream_t stream) const;

 private:
  explicit Cublas(void* library);
  void* handle(int device, cudaStream_t stream) const;
  void check(int status, const char* call) const;

  // Functions of cublas_v2.h, with its enumerations as plain ints.
  int (*create_)(void** handle);
  int (*set_stream_)(void* handle, cudaStream_t stream);
  int (*get_property_)(int property, int* value);
  const char* (*status_string_)(int status);
  int (*gemm_ex_)(void* handle, int transa, int transb, int m, int n, int k, const void* alpha,
                  const void* a, int a_type, int lda, const void* b, int b_type, int ldb,
                  const void* beta, void* c, int c_type, int ldc, int compute_type, int algorithm);
};

}  // namespace rnnfast::cuda
