#pragma once
// What the drivers know of a cell: its layout, and a function for each stage that does the
// pointwise part of a block. Drivers are compiled once for an instruction set and format, and only
// these functions for each cell (forward_cell.h, backward_cell.h).
//
// A block has some sequences and some units of one step. It points at the arrays' places for
// sequence 0 of the step and unit 0, so that only its range differs from block to block.

#include "cells/program.h"
#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class T>
struct CellCode;

template <class T>
struct ForwardBlock {
  const CellCode<T>* code;
  int stage;
  Index hidden;
  Index tile, tiles;  // [tile, tile + tiles)
  Index row, rows;    // sequences [row, row + rows)
  const T* sums;      // recurrent parts, [tile of the block][row of the block][gate][unit]
  T* gates;           // [tile][row][slot][unit]
  Index gates_tile;   // from tile to tile, as below
  bool keeps_gates;
  const T* params;  // [tile][param][unit]
  const T* h;       // before the step, row stride h_stride
  Index h_stride;
  const T* states;  // beyond h, before and after the step: [state][tile][row][unit]
  T* new_states;
  Index state, states_tile;  // from state to state and from tile to tile
  T* y;                      // row stride y_stride; null: not wanted
  Index y_stride;
  Index operand_row;      // row stride of operands:
  T* h_operand;           // of h for the next step, where products round
  T* values[kMaxValues];  // those of an opening stage for the next step
  const T* mask;          // dropout of the values, row stride H; null for none
  // Of the rows' norms, [norm][sequence]: the mean and 1 / the deviation.
  const T* moments;
  Index moments_norm;  // from norm to norm
};

template <class T>
struct BackwardBlock {
  const CellCode<T>* code;
  int stage;
  Index hidden;
  Index vector, vectors;  // vectors of units [vector, vector + vectors)
  Index row, rows;        // sequences [row, row + rows)
  const T* product;    // gradients of operands, [product][row of the block][vector][lane]; or null
  Index product_size;  // from product to product
  Index continued;     // sequences that had a step before this one
  const T* saved;      // [tile][row][slot][unit]
  Index saved_tile;
  const T* params;    // [tile][param][unit]
  const T* h;         // after the step, row stride h_stride
  const T* h_before;  // before it if it continues, row stride y_stride
  const T* dy;        // may be null
  Index h_stride, y_stride;
  const T* h0;  // row stride h0_stride
  Index h0_stride;
  const T *states, *states_before, *states0;  // like h, beyond it: [state][tile][row][unit]
  Index state, states_tile;
  T* carry;  // gradients of the states, [state][tile][row][unit]
  Index carry_state, carry_tile;
  T *dh, *dx;  // operands, [tile][row][gate][unit]; the same unless a stage is split
  Index gates_tile;
  T* dparams;  // [tile][row][param][unit]
  Index dparams_tile;
  T* dkept;  // gradients of slots that later stages see, [tile][row][slot][unit]
  Index dkept_tile;
  T* values[kMaxValues];  // row stride H
  T* h_operand;           // h before the step as products multiplied it, where they drop; likewise
  // Gradients of normalised slots, [tile][row][norm][unit], and of the rows, [norm][sequence]: the
  // mean of the slot, 1 / its deviation, and the means of the gradient and of gradient times norm.
  T* dnorms;
  Index dnorms_tile;
  const T* moments;
  Index moments_norm;
};

template <class T>
struct CellCode {
  Layout<T> layout;
  // By stage; an opening one is fused into the last, and has none.
  void (*forward[kMaxStages])(const ForwardBlock<T>&);
  void (*backward[kMaxStages])(const BackwardBlock<T>&);
  // Makes what the first step multiplies out of the initial states.
  void (*open)(const ForwardBlock<T>&);
  // Adds what comes through the first step's products to the gradient of the initial states.
  void (*leave)(const BackwardBlock<T>&);
  // Of a cell that was written in Python: its programs, and its constants as vectors, [number][a
  // panel's vectors][lane].
  const TracedCell* traced = nullptr;
  const T* constants = nullptr;

  RNNFAST_INLINE int norm_count() const { return traced ? traced->norm_count : 0; }
};

}  // namespace RNNFAST_ISA_NAMESPACE
