#pragma once
// Turns a traced cell's definition into the programs that the drivers run, and checks it: a program
// that passes cannot touch memory outside its own.

#include <vector>

#include "cpu/traced_cells.h"

namespace rnnfast {

// The pass that a program belongs to. Opening stages read only the states.
enum class Role { forward, backward, opening_forward, opening_backward };

struct MadeProgram {
  std::vector<Instruction> instructions;
  std::vector<PlaceName> places;
  int buffers = 0;

  // Whether it writes a place.
  bool has(PlaceKind kind, int index) const;
};

// `info` is what `checked_info` returned for the definition. Throws Error, which says what is
// wrong.
MadeProgram checked_program(const CellDefinition& definition, const CellInfo& info, int stage,
                            Role role);

}  // namespace rnnfast
