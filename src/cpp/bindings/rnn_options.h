#pragma once
// The options of a network as Python has them.

#include <pybind11/pybind11.h>

#include <optional>

#include "rnn/options.h"

namespace rnnfast {

// The place in the registry of the cell that an object stands for, by its name.
std::optional<int> find_cell(pybind11::handle object);

const char* precision_name(Precision precision);

}  // namespace rnnfast
