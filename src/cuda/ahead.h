#pragma once
// The cells whose kernels are compiled into the module. Those of others are compiled at their first
// use (python/rnnfast/cuda/_compiler.py), by the same text.

#include "cells/registry.h"

#ifndef RNNFAST_CUDA_CELLS
#define RNNFAST_CUDA_CELLS RnnTanh, Lstm, Gru
#endif

namespace rnnfast::cuda {

#ifdef RNNFAST_CUDA_ALL_CELLS  // the emulator's, as its compiler takes long for one at a time
using AheadCells = Cells;
#else
using AheadCells = TypeList<RNNFAST_CUDA_CELLS>;
#endif

}  // namespace rnnfast::cuda
