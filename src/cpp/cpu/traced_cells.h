#pragma once
// Cells that were written in Python, as the engine keeps them: checked, once for the process, and
// with kernels for each format that somebody asked for. A cell's number follows those of the
// registry.

#include <optional>
#include <string_view>

#include "cells/definition.h"
#include "cpu/kernel_table.h"

namespace rnnfast {

// The number of a new cell. Throws Error, which says what is wrong, unless the drivers can run it
// without touching memory that is not theirs.
int define_cell(const CellDefinition& definition);

// Of the registry and of what was defined.
std::optional<int> find_cell(std::string_view name);
int cell_count();
const CellInfo& known_cell(int number);
template <class T>
const CellKernels<T>& traced_kernels(int number, Precision precision);

}  // namespace rnnfast
