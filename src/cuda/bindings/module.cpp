// The table of contents of the CUDA engine: `_cuda` or, for the emulator, `_emulated`.

#include "cuda/bindings/module.h"

#include "core/error.h"

#ifdef RNNFAST_EMULATED
namespace emulator {
void bind(pybind11::module_& m);  // tests/cuda_emulator/bindings.cpp
}
#endif

namespace {

// Python has checked the arguments, so what fails now is the device.
void translate(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const rnnfast::Error& error) {
    pybind11::set_error(PyExc_RuntimeError, error.what());
  }
}

}  // namespace

PYBIND11_MODULE(RNNFAST_CUDA_MODULE, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The CUDA engine: private, checked and documented by the Python layer.";
  pybind11::register_local_exception_translator(&translate);
  rnnfast::cuda::bind_info(m);
  rnnfast::cuda::bind_rnn(m);
  rnnfast::cuda::bind_dense(m);
  rnnfast::cuda::bind_optim(m);
#ifdef RNNFAST_EMULATED
  emulator::bind(m);
#endif
}
