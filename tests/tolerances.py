"""Every tolerance of the test suite, and where it comes from.

The rule for floating-point results: the largest error against the float64 reference may be at most
FACTOR times the largest error that plain NumPy code makes on the same task in float32, plus a small
absolute term for cases in which NumPy happens to be nearly exact. That term is a few roundings of a
sum with independent errors, which grow with the square root of its length (Higham and Mary 2019,
"A new approach to probabilistic rounding error analysis"). Float64 results follow the same rule,
with the float32 error scaled down by the ratio of the two machine epsilons. As the float64
reference itself has errors as large as plain NumPy's, that error is allowed once more.

Where products round to bfloat16, the reference rounds as well. A float32 error can then move a
value near a rounding boundary to the other side, which changes it by 2^-8 of its size, and all
later results inherit that error. Which values can jump depends on the task. The plain error is
therefore the largest of several runs, in each of which float32 errors are added to all values
before they are rounded, so that every value that can jump does so in some of the runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnnfast.reference.rounding import Rounding
from rnnfast.reference.tape import Array

FACTOR = 2.0
ABSOLUTE = 2.0  # epsilons of an array's largest value (or of 1), per square root of the length

TORCH_RELATIVE_FLOAT64 = 1e-12  # relative to an array's largest value
CENTRAL_DIFFERENCE_STEP = 1e-5  # near eps**(1/3), where truncation and rounding errors balance
CENTRAL_DIFFERENCE = 1e-8  # truncation: step**2 times third derivatives near 10; rounding: 1e-11
LOG_PROBABILITY_FLOAT64 = 1e-12  # sums of 30 values below 10: 30 * 10 * eps is 1e-13
MIN_CHAR_RNN_RELATIVE = 1e-9  # relative to the loss, after 1,000 steps


DITHER_RUNS = 6  # a value that can jump does so in about half of the runs
DITHER = 4.0  # machine epsilons of an array's largest value: the errors of the products' operands


def dithered(rounding: Rounding) -> list[Rounding]:
    """Return `rounding` preceded by float32 errors, which are drawn anew for each run."""

    def of_run(run: int) -> Rounding:
        rng = np.random.default_rng(run)

        def disturbed(x: Array) -> Array:
            size = DITHER * np.finfo(np.float32).eps * np.abs(x).max(initial=0.0)
            return rounding((x + size * rng.uniform(-1, 1, x.shape)).astype(x.dtype))

        return disturbed

    return [of_run(run) for run in range(DITHER_RUNS)]


def bound(expected: NDArray, plain_error: float, longest_sum: int, dtype: np.dtype) -> float:
    """Return the largest allowed absolute error of an array.

    Args:
        expected: The float64 reference values.
        plain_error: The largest error of plain float32 NumPy on the same task.
        longest_sum: The number of terms of the longest sum in the task.
        dtype: The real type of the result to check.
    """
    eps = np.finfo(dtype).eps
    largest = max(1.0, float(np.abs(expected).max(initial=0.0)))
    absolute = ABSOLUTE * eps * largest * longest_sum**0.5
    if dtype == np.float32:
        return FACTOR * plain_error + absolute
    return (FACTOR + 1) * plain_error * eps / np.finfo(np.float32).eps + absolute


# Scores of units, which are near 1: both sides sum at most 1,000 terms near 1 in float64, and
# divide by variances near 0.1, which may magnify the errors of 1e-13 some 100 times.
SCORES = 1e-9
