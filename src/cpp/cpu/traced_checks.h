#pragma once
// A traced cell's definition made into what the drivers read, and checked: whatever passes can run
// without touching memory that is not its own.

#include <vector>

#include "cpu/traced_cells.h"

namespace rnnfast {

// Which pass a program is of. The opening stage's see the states alone.
enum class Role { forward, backward, opening_forward, opening_backward };

struct MadeProgram {
  std::vector<Instruction> instructions;
  std::vector<PlaceName> places;
  int buffers = 0;

  // Whether it writes a place.
  bool has(PlaceKind kind, int index) const;
};

// Throw Error, which says what is wrong. The info has no name yet.
CellInfo checked_info(const CellDefinition& definition);
MadeProgram checked_program(const CellDefinition& definition, const CellInfo& info, int stage,
                            Role role);

}  // namespace rnnfast
