#pragma once
// A cell written in Python: a list of stages, like every cell (cell.h), but with a program per
// stage in place of a compiled function.
//
// A program is a list of instructions on places. A place is one vector of units, or, as the drivers
// run a program on a block, all vectors of the block. Some places are in the drivers' arrays, which
// programs read and write directly; the others are buffers of the block. These are plain structs;
// traced_cells.h owns the memory they point at.

#include "cells/cell.h"

namespace rnnfast {

inline constexpr int kMaxPlaces = 160;  // per program
inline constexpr int kMaxBuffers = 64;  // of a stage's program and the opening one together

// X(name, operands): to = f(a, b, c).
#define RNNFAST_OPERATIONS(X)                                        \
  X(copy, 1)                                                         \
  X(neg, 1)                                                          \
  X(add, 2)                                                          \
  X(sub, 2)                                                          \
  X(mul, 2)                                                          \
  X(div, 2)                                                          \
  X(fma, 3)  /* a * b + c */                                         \
  X(fms, 3)  /* a * b - c */                                         \
  X(fnma, 3) /* c - a * b */                                         \
  X(sigmoid, 1)                                                      \
  X(tanh, 1)                                                         \
  X(relu, 1)                                                         \
  X(exp, 1)                                                          \
  X(log, 1)                                                          \
  X(softplus, 1)                                                     \
  X(sqrt, 1)                                                         \
  X(abs, 1)                                                          \
  X(max, 2)                                                          \
  X(min, 2)                                                          \
  X(greater, 2)  /* 1 or 0 */                                        \
  X(select, 3)   /* b where a > 0, else c */                         \
  X(dsigmoid, 2) /* a times the derivative where b is the sigmoid */ \
  X(dtanh, 2)    /* the same of tanh */                              \
  X(drelu, 2)    /* the same of relu */

enum class Operation : short {
#define X(name, operands) name,
  RNNFAST_OPERATIONS(X)
#undef X
};

// X(name): the kinds of places that programs read and write, first in both passes, then only in the
// backward pass.
#define RNNFAST_PLACES(X)                                                      \
  X(slot)     /* of the step; slot k is the input's part of gate k at first */ \
  X(h)        /* the recurrent part of a gate of the stage */                  \
  X(param)    /* of the cell */                                                \
  X(state)    /* before the step */                                            \
  X(next)     /* a state after the step */                                     \
  X(made)     /* a value of the stage, by its number in the cell */            \
  X(constant) /* by its number in the cell */                                  \
  X(tmp)      /* of the program alone */                                       \
  X(norm)     /* a normalised slot, by its number in the cell */               \
  X(dnext)    /* gradients: of a state after the step, complete */             \
  X(dmade)    /* of a value, through the products that multiply it */          \
  X(dslot)    /* of what a later stage saw of an earlier one */                \
  X(dgate)    /* of a gate */                                                  \
  X(dstate)   /* of a state before the step, but for what comes by products */ \
  X(dparam)   /* of a parameter, of this step */                               \
  X(dnorm)    /* of a normalised slot */                                       \
  X(dsource)  /* of a slot, through its norm */                                \
  X(product)  /* of an operand, through one product */

enum class PlaceKind : short {
#define X(name) name,
  RNNFAST_PLACES(X)
#undef X
};

inline constexpr const char* kOperationNames[] = {
#define X(name, operands) #name,
    RNNFAST_OPERATIONS(X)
#undef X
};
inline constexpr int kOperandCounts[] = {
#define X(name, operands) operands,
    RNNFAST_OPERATIONS(X)
#undef X
};
inline constexpr const char* kPlaceNames[] = {
#define X(name) #name,
    RNNFAST_PLACES(X)
#undef X
};

struct PlaceName {
  PlaceKind kind;
  short index;
  short buffer;  // its own, or -1 if it is in the drivers' arrays
};

// Operands are indices of the program's places.
struct Instruction {
  Operation op;
  short to, a, b, c;
};

struct Program {
  const Instruction* code = nullptr;
  int size = 0;
  const PlaceName* places = nullptr;
  int place_count = 0;
  int buffers = 0;
};

// A slot normalised to mean 0 and variance 1 over the units of a row: (v - mean) / sqrt(variance +
// eps).
struct Norm {
  int slot, made_by, used_by;  // stages
  double eps;
};
inline constexpr int kMaxNorms = 32;

struct TracedCell {
  CellInfo info;
  Program forward[kMaxStages], backward[kMaxStages];  // by stage; an opening one is the first
  const double* constants;
  int constant_count;
  Norm norms[kMaxNorms];
  int norm_count;
};

}  // namespace rnnfast
