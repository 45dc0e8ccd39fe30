#pragma once
// One function per file of bindings; module.cpp calls them.

#include <pybind11/pybind11.h>

namespace rnnfast {

void bind_axes(pybind11::module_& m);
void bind_info(pybind11::module_& m);
void bind_layers(pybind11::module_& m);
void bind_dlpack(pybind11::module_& m);
void bind_options(pybind11::module_& m);
void bind_reserve(pybind11::module_& m);
void bind_rnn(pybind11::module_& m);
void bind_step(pybind11::module_& m);
void bind_stream(pybind11::module_& m);
void bind_dense(pybind11::module_& m);
void bind_ctc(pybind11::module_& m);
void bind_optim(pybind11::module_& m);
void bind_math(pybind11::module_& m);
void bind_plan(pybind11::module_& m);
void bind_probe(pybind11::module_& m);
void bind_traced(pybind11::module_& m);
void bind_xla(pybind11::module_& m);

}  // namespace rnnfast
