#pragma once
// The arguments of the recurrent kernels: one layer and direction over a whole sequence.
//
// Arrays are contiguous float32 on the device, time-major and padded: `lengths` masks. In its
// inactive steps, a sequence keeps its states, writes zeros to y and has zero gate gradients.
//
// T steps, B batch, H hidden; S states, P parameters of the cell, O values of its opening stage and
// V of the others. The slots of a state before and after step t are t and t + 1, in the reverse
// direction t + 1 and t.

#include "cells/cell.h"
#include "core/index.h"

namespace rnnfast::cuda {

struct CallSize {
  int steps, batch, hidden;
  bool reverse;
  const int* lengths;  // (B,) in [0, T]; null: T for all

  // The k-th step in processing order, and the slots around step t.
  RNNFAST_INLINE int step(int k) const { return reverse ? steps - 1 - k : k; }
  RNNFAST_INLINE int before(int t) const { return reverse ? t + 1 : t; }
  RNNFAST_INLINE int after(int t) const { return reverse ? t : t + 1; }
  RNNFAST_INLINE bool active(int t, int b) const { return !lengths || t < lengths[b]; }
  // Offsets of sequence b's row: in a (B, H) matrix, in step t, or in a slot of state or value s.
  RNNFAST_INLINE Index row(int b) const { return Index(b) * hidden; }
  RNNFAST_INLINE Index row(int t, int b) const { return (Index(t) * batch + b) * hidden; }
  RNNFAST_INLINE Index row(int s, int slot, int b) const {
    return ((Index(s) * (steps + 1) + slot) * batch + b) * hidden;
  }
};

// How a launch shares the work; its grid is (slices of units, sub-batches).
struct GridShape {
  int units;  // of every slice but the last
  int rows;   // of every sub-batch but the last
};

struct ForwardArgs {
  CallSize size;
  const float* weight_hh;            // (recurrent_gates * H, H)
  const float* bias_hh;              // (recurrent_gates * H,) or null
  const float* weight_channel;       // (P, H)
  const float* initial[kMaxStates];  // (B, H) each; null: zeros
  bool bfloat16;                     // round operands to bfloat16
  float* final[kMaxStates];          // (B, H) each
  float* gates;                      // (T, B, slots, H): input parts in, saved values out
  float* states;                     // (S, T + 1, B, H)
  float* openings;                   // (O, T + 1, B, H)
  float* values;                     // (V, T, B, H)
  float* y;                          // (T, B, y_stride)
  int y_stride;
  unsigned* counters;  // zeros, one per sub-batch
  float* sums;         // (B, gates of a stage, H): scratch of the fallback

  // First row of an operand, by its number (multiplied.h), for a cell with `opening_values`: h and
  // opening values at a slot, others at a step.
  RNNFAST_INLINE float* operand(int opening_values, int number, int at) const {
    if (number == 0) return states + size.row(0, at, 0);
    if (number <= opening_values) return openings + size.row(number - 1, at, 0);
    return values + size.row((number - 1 - opening_values) * size.steps + at, 0);
  }
};

struct BackwardArgs {
  CallSize size;
  const float* weight_hh;
  const float* weight_channel;
  const float* gates;   // what forward saved
  const float* states;  // as forward left them
  const float* dy;      // (T, B, y_stride); null: zeros
  int y_stride;
  const float* dfinal[kMaxStates];  // (B, H) each; null: zeros
  float* dinitial[kMaxStates];      // (B, H) each; may be dfinal
  bool bfloat16;                    // round operands to bfloat16: the gate gradients, too
  float* dgates_x;                  // (T, B, gates, H), gradients of the input parts
  float* dgates_h;                  // of the recurrent parts; dgates_x unless a stage is split
  float* dchannel;                  // (T, B, P, H)
  float* values;                    // (V, T, B, H), recomputed
  float* dkept;        // (B, slots that later stages read, H): gradients between stages
  float* dwaiting;     // (B, operands that wait, H): their gradients (multiplied.h)
  unsigned* counters;  // zeros, one per sub-batch
  float* sums;         // (B, operands of a stage, H): scratch of the fallback

  // First row of the gradients of a gate's recurrent part in step t; the cell has `gates` gates.
  RNNFAST_INLINE float* gate(int gates, int gate, int t) const {
    return dgates_h + size.row(t, 0) * gates + Index(gate) * size.hidden;
  }
};

}  // namespace rnnfast::cuda
