#pragma once
// Included before everything else in the copy of the kernels that tests/cuda/mutants.py makes: each
// of its faults stands behind a test of its number.

namespace planted {

inline int fault = 0;  // the one that is in effect; 0: none

}  // namespace planted

#define PLANTED(number) (planted::fault == (number))
