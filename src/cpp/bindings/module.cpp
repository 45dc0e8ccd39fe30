// The extension's table of contents.

#include "bindings/module.h"

#include "core/error.h"

namespace {

// Every Error of the C++ side is about an argument, so it becomes ValueError.
void translate(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const rnnfast::Error& error) {
    pybind11::set_error(PyExc_ValueError, error.what());
  }
}

}  // namespace

// PyInit__core, below, first checks the interpreter.
PYBIND11_MODULE(_core_of_main, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The compiled part of rnnfast: private, checked and documented by the Python layer.";
  pybind11::register_local_exception_translator(&translate);
  rnnfast::bind_axes(m);
  rnnfast::bind_info(m);
  rnnfast::bind_layers(m);
  rnnfast::bind_dlpack(m);
  rnnfast::bind_options(m);
  rnnfast::bind_reserve(m);
  rnnfast::bind_rnn(m);
  rnnfast::bind_step(m);
  rnnfast::bind_stream(m);
  rnnfast::bind_dense(m);
  rnnfast::bind_ctc(m);
  rnnfast::bind_optim(m);
  rnnfast::bind_math(m);
  rnnfast::bind_plan(m);
  rnnfast::bind_probe(m);
  rnnfast::bind_traced(m);
  rnnfast::bind_xla(m);
}

// pybind11's types belong to one interpreter, and before Python 3.12 its own initialisation
// deadlocks in a second one.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core();
PyObject* PyInit__core() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit__core_of_main();
  PyErr_SetString(PyExc_ImportError,
                  "rnnfast cannot be imported in a sub-interpreter: use the main interpreter, or a "
                  "process of its own");
  return nullptr;
}
