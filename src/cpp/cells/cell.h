#pragma once
// The contract between a cell and the drivers (CPU engine, CUDA kernels, sizes, bindings, tests).
//
// A cell is a struct of static functions on registers, templated on the value type V: a SIMD vector
// on the CPU, a float on a GPU. It never touches memory: a driver loads, calls and stores. What the
// cell is made of stands in its `info`; everything else loops over the registry.
//
// One step of a cell:
//   1. x[g]  = row block g of weight_ih times the input, plus bias_ih        (all time steps at
//   once)
//   2. h[g]  = row block g of weight_hh times operand `recurrent[.]`, plus bias_hh
//   3. forward(x, h, params, states -> new states, saved)
// A cell with a second product inside the step (`second_gates` > 0, as W (r * h) of the original
// GRU) puts `operand` between two products:
//   2a. h[g] of the first `gates - second_gates` row blocks
//   2b. operand(x, h, params, states -> q, saved)
//   2c. h[g] of the last `second_gates` row blocks, which multiply q
//
// Functions (arrays are indexed by constants only, so they live in registers):
//   forward (x, h, p, s, s_new, save)                what step 3 does
//   backward(save, p, s, s_new, ds_new, dx, dh, dp, ds)
//       takes the gradient of the new states, gives those of the gates (dx, dh), of the channel
//       parameters (dp) and of the old states (ds, elementwise paths alone: the driver adds the
//       gradient that comes through the recurrent products to ds[0]).
//   operand (x, h, p, s, q, save)                    only with a second product
//   operand_backward(save, p, s, dq, q, dx, dh, dp, ds)
//       takes dq, makes q again, writes the gates that `operand` used, ADDS to ds.
//   publish (s, v)                                   only with more than one published operand
//   publish_backward(s, dv, ds)                      ADDS to ds
//       `publish` makes the operands 1, 2, ... of the next step's first product from the states;
//       operand 0 is always h itself.
//
// Slots: `save[k]` shares its place with `x[k]`, so `operand` may write only the slots whose x gate
// neither it nor `forward` reads afterwards. `additive` says that x and h enter as x[g] + h[g]
// alone, so that dx[g] == dh[g] and one buffer holds both.

#include "core/macros.h"

namespace rnnfast {

inline constexpr int kMaxStates = 4;    // states carried from step to step
inline constexpr int kMaxOperands = 4;  // published operands

struct CellInfo {
  const char* name;
  int states;            // state 0 is h, the output
  int gates;             // row blocks of weight_ih and of weight_hh
  int second_gates = 0;  // the last of them multiply the operand made inside the step
  int saved = 0;         // values an element that forward keeps for backward
  int params = 0;        // per-channel parameter vectors (rows of weight_channel)
  bool additive = true;  // gates see x[g] + h[g] alone
  int operands = 1;      // what the first product multiplies: h and, beyond 1, what publish makes
  int first_gates[kMaxOperands] = {};  // row blocks of each operand; 0 0 .. = all for operand 0

  RNNFAST_INLINE constexpr int h_gates() const { return gates - second_gates; }
  RNNFAST_INLINE constexpr int operand_gates(int o) const {
    return operands == 1 ? h_gates() : first_gates[o];
  }
  RNNFAST_INLINE constexpr int slots() const { return gates > saved ? gates : saved; }
};

}  // namespace rnnfast
