#pragma once
// One function per file of bindings; module.cpp calls them. Arrays are passed as integer addresses
// of device memory (0: none). Python has checked that they are float32, unless said otherwise, and
// in C order. Nothing allocates or waits for the device.

#include <pybind11/pybind11.h>

namespace rnnfast::cuda {

void bind_info(pybind11::module_& m);
void bind_rnn(pybind11::module_& m);
void bind_dense(pybind11::module_& m);
void bind_optim(pybind11::module_& m);

}  // namespace rnnfast::cuda
