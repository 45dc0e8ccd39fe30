#pragma once
// Cells written in Python, as the engine keeps them: checked and stored once per process, with
// kernels for each format in use. Their numbers follow those of the registry.

#include <optional>
#include <string_view>

#include "cells/definition.h"
#include "cpu/kernel_table.h"

namespace rnnfast {

// Stores a new cell and returns its number. Throws Error, which says what is wrong, unless the
// drivers can run the cell within their own memory.
int define_cell(const CellDefinition& definition);

// Cells of the registry and those defined.
std::optional<int> find_cell(std::string_view name);
int cell_count();
const CellInfo& known_cell(int number);
template <class T>
const CellKernels<T>& traced_kernels(int number, Precision precision);

}  // namespace rnnfast
