#pragma once
// Cells that were written in Python, as the engine keeps them: checked, once for the process, and
// with kernels for each format that somebody asked for. A cell's number follows those of the
// registry.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/kernel_table.h"

namespace rnnfast {

struct PlaceOf {
  PlaceKind kind = PlaceKind::tmp;
  int index = 0;
};

struct InstructionOf {
  Operation op;
  PlaceOf to, a, b, c;
};
using ProgramOf = std::vector<InstructionOf>;

struct StageOf {
  std::vector<Product> products;
  int values = 0;  // that it makes
  ProgramOf forward, backward;
};

// What cells/cell.h and cells/program.h tell of a cell.
struct CellDefinition {
  std::string name;
  int states = 1, params = 0, slots = 0, dslots = 0;
  std::vector<int> input, recurrent;  // row blocks of each gate
  bool opens = false;
  std::vector<StageOf> stages;
  std::vector<Norm> norms;
  std::vector<double> constants;
};

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
