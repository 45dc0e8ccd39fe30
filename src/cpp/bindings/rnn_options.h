#pragma once
// The options of a network, read from Python.

#include <pybind11/pybind11.h>

#include <optional>
#include <string_view>

#include "rnn/options.h"

namespace rnnfast {

// The number of the cell that a Python object names.
std::optional<int> find_cell(pybind11::handle object);

const char* precision_name(Precision precision);
std::optional<Precision> precision_named(std::string_view name);

}  // namespace rnnfast
