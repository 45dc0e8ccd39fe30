#include "cuda/cublas.h"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"

namespace rnnfast::cuda {
namespace {

// Values of cublas_api.h and library_types.h.
enum { kNotTransposed = 0, kTransposed = 1 };           // cublasOperation_t
enum { kReal32 = 0 };                                   // cudaDataType_t
enum { kCompute32 = 68, kCompute32FromBfloat16 = 75 };  // cublasComputeType_t
enum { kDefaultAlgorithm = -1 };                        // cublasGemmAlgo_t
constexpr const char* kNames[] = {"libcublas.so.13", "libcublas.so.12"};

std::mutex mutex;
std::string folder;
bool searched = false;

void* open_library() {
  for (const char* name : kNames)
    if (void* library = dlopen(name, RTLD_NOW | RTLD_NOLOAD)) return library;
  // cuBLAS itself finds libcublasLt next to it, through its rpath.
  for (const std::string& prefix : {folder.empty() ? folder : folder + "/", std::string()})
    for (const char* name : kNames)
      if (void* library = dlopen((prefix + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

template <class Function>
void set_symbol(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  RNNFAST_CHECK(function, "cuBLAS: expected the library to have the function ", name,
                ", found none");
}

}  // namespace

void Cublas::set_folder(const std::string& path) {
  const std::lock_guard lock(mutex);
  RNNFAST_CHECK(
      !searched,
      "folder: expected it to be set before the first product, which has loaded cuBLAS already");
  folder = path;
}

const Cublas* Cublas::find() {
  const std::lock_guard lock(mutex);
  static const Cublas* found = nullptr;
  if (!std::exchange(searched, true))
    if (void* library = open_library()) found = new Cublas(library);  // never destroyed
  return found;
}

Cublas::Cublas(void* library) {
  set_symbol(library, "cublasCreate_v2", create_);
  set_symbol(library, "cublasSetStream_v2", set_stream_);
  set_symbol(library, "cublasGetProperty", get_property_);
  set_symbol(library, "cublasGetStatusString", status_string_);
  set_symbol(library, "cublasGemmEx", gemm_ex_);
}

std::string Cublas::version() const {
  std::string version;
  for (int property = 0; property < 3; ++property) {  // major, minor, patch level
    int value = 0;
    check(get_property_(property, &value), "cublasGetProperty");
    if (property) version += ".";
    version += std::to_string(value);
  }
  return version;
}

void Cublas::check(int status, const char* call) const {
  RNNFAST_CHECK(status == 0, call, ": ", status_string_(status));
}

// One handle per stream, as cuBLAS promises the same bits only if a handle stays on one stream.
// Handles are never destroyed.
void* Cublas::handle(int device, cudaStream_t stream) const {
  static std::map<std::pair<int, cudaStream_t>, void*> handles;
  void*& handle = handles[{device, stream}];
  if (!handle) {
    check(create_(&handle), "cublasCreate");
    check(set_stream_(handle, stream), "cublasSetStream");
  }
  return handle;
}

void Cublas::gemm(const GemmShape& s, float beta, const float* a, const float* b, float* c,
                  int device, cudaStream_t stream) const {
  const std::lock_guard lock(mutex);
  const float one = 1;
  // cuBLAS is column-major and so sees the transpose of each array: C^T = op(B)^T op(A)^T.
  check(gemm_ex_(handle(device, stream), s.transpose_b ? kTransposed : kNotTransposed,
                 s.transpose_a ? kTransposed : kNotTransposed, s.n, s.m, s.k, &one, b, kReal32,
                 s.ldb, a, kReal32, s.lda, &beta, c, kReal32, s.ldc,
                 s.bfloat16 ? kCompute32FromBfloat16 : kCompute32, kDefaultAlgorithm),
        "cublasGemmEx");
}

}  // namespace rnnfast::cuda
