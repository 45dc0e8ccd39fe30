#pragma once
// One function a file of bindings; module.cpp calls them. Arrays are addresses of memory on the
// device, as integers (0: none), that Python has checked: dtype float32 unless said otherwise, in C
// order. Nothing allocates, and nothing waits for the device.

#include <pybind11/pybind11.h>

namespace rnnfast::cuda {

void bind_info(pybind11::module_& m);
void bind_rnn(pybind11::module_& m);
void bind_dense(pybind11::module_& m);
void bind_optim(pybind11::module_& m);

}  // namespace rnnfast::cuda
