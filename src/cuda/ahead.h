#pragma once
// The cells whose kernels are compiled into the module. Kernels of other cells are compiled at
// their first use (python/rnnfast/cuda/_compiler.py), from the same source.

#include "cells/registry.h"

#ifndef RNNFAST_CUDA_CELLS
#define RNNFAST_CUDA_CELLS RnnTanh, Lstm, Gru
#endif

namespace rnnfast::cuda {

#ifdef RNNFAST_CUDA_ALL_CELLS  // for the emulator, whose compiler is slow if called per cell
using AheadCells = Cells;
#else
using AheadCells = TypeList<RNNFAST_CUDA_CELLS>;
#endif

}  // namespace rnnfast::cuda
