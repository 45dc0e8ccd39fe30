// The extension's table of contents.

#include "bindings/module.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The compiled part of rnnfast: private, checked and documented by the Python layer.";
  rnnfast::bind_info(m);
  rnnfast::bind_rnn(m);
  rnnfast::bind_dense(m);
  rnnfast::bind_math(m);
}
