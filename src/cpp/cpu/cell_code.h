#pragma once
// A cell as the drivers see it: its layout, and for each stage a function for the pointwise part of
// a block. The drivers are compiled once per instruction set and format; only these functions are
// compiled per cell (forward_cell.h, backward_cell.h).
//
// A block is a range of sequences and units of one step. Its pointers are those of sequence 0 and
// unit 0 of the step, so that only the range differs from block to block.

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
  Index gates_tile;   // stride between tiles
  bool keeps_gates;
  const T* params;  // [tile][param][unit]
  const T* h;       // before the step, row stride h_stride
  Index h_stride;
  const T* states;  // beyond h, before and after the step: [state][tile][row][unit]
  T* new_states;
  Index state, states_tile;  // strides between states and between tiles
  T* y;                      // row stride y_stride; null if not wanted
  Index y_stride;
  Index operand_row;      // row stride of the operands that follow
  T* h_operand;           // h for the next step, if products round
  T* values[kMaxValues];  // an opening stage's are for the next step
  const T* mask;          // recurrent dropout of the values, row stride H; or null
  // Moments of the rows' norms, [norm][sequence]: mean and 1 / deviation.
  const T* moments;
  Index moments_norm;  // stride between norms
};

template <class T>
struct BackwardBlock {
  const CellCode<T>* code;
  int stage;
  Index hidden;
  Index vector, vectors;  // vectors of units [vector, vector + vectors)
  Index row, rows;        // sequences [row, row + rows)
  const T* product;    // gradients of operands, [product][row of the block][vector][lane]; or null
  Index product_size;  // stride between products
  Index continued;     // how many sequences had a step before this one
  const T* saved;      // [tile][row][slot][unit]
  Index saved_tile;
  const T* params;    // [tile][param][unit]
  const T* h;         // after the step, row stride h_stride
  const T* h_before;  // before it if it continues, row stride y_stride
  const T* dy;        // may be null
  Index h_stride, y_stride;
  const T* h0;  // row stride h0_stride
  Index h0_stride;
  const T *states, *states_before, *states0;  // likewise beyond h: [state][tile][row][unit]
  Index state, states_tile;
  T* carry;  // gradients of the states, [state][tile][row][unit]
  Index carry_state, carry_tile;
  T *dh, *dx;  // gate gradients as operands, [tile][row][gate][unit]; equal unless a stage is split
  Index gates_tile;
  T* dparams;  // [tile][row][param][unit]
  Index dparams_tile;
  T* dkept;  // gradients of slots that later stages read, [tile][row][slot][unit]
  Index dkept_tile;
  T* values[kMaxValues];  // row stride H
  T* made_h;              // with a projection, the recomputed h, row stride made_h_row; else null
  Index made_h_row;
  T* h_operand;  // with recurrent dropout, h before the step as multiplied; row stride H
  // Gradients of normalised slots, [tile][row][norm][unit], and moments of the rows,
  // [norm][sequence]: the slot's mean, 1 / its deviation, and the means of the gradient and of
  // gradient times norm.
  T* dnorms;
  Index dnorms_tile;
  const T* moments;
  Index moments_norm;
};

template <class T>
struct CellCode {
  Layout<T> layout;
  // By stage; null for an opening stage, which is fused into the last one.
  void (*forward[kMaxStages])(const ForwardBlock<T>&);
  void (*backward[kMaxStages])(const BackwardBlock<T>&);
  // Computes the first step's operands from the initial states.
  void (*open)(const ForwardBlock<T>&);
  // Adds the gradient that comes through the first step's products to that of the initial states.
  void (*leave)(const BackwardBlock<T>&);
  // For a cell written in Python: its programs, and its constants as vectors, [constant][vector of
  // a panel][lane].
  const TracedCell* traced = nullptr;
  const T* constants = nullptr;

  RNNFAST_INLINE int norm_count() const { return traced ? traced->norm_count : 0; }
};

}  // namespace RNNFAST_ISA_NAMESPACE
