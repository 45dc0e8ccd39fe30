#pragma once
// All that translated PTX calls. Its statements name instructions by functions, types and modifiers
// of the same names as in PTX.

#include "emulator.h"
#include "ptx/blocks.h"
#include "ptx/conversions.h"
#include "ptx/launch.h"
#include "ptx/warps.h"

// Registers that nobody wrote are nvcc's business.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
