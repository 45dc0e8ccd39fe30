"""Rows of numbers with exponents of their own, which neither overflow nor underflow.

Gradients shrink or grow by a constant factor per step, so that after some hundred steps they leave
the range of float64. A row is therefore stored as `mantissa * 2**exponent`. Scaling by a power of
two is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_OF_ZERO = -(2**30)  # the exponent of a row of zeros, smaller than that of any other row


@dataclass(frozen=True, eq=False)
class Scaled:
    """Rows of numbers, `mantissa * 2**exponent`.

    Attributes:
        mantissa: (..., N) float64; the largest element of a row is in [0.5, 1), or the row is 0.
        exponent: (...) int64, one for each row.
    """

    mantissa: Array
    exponent: NDArray[np.int64]

    @classmethod
    def of(cls, values: Array, exponent: NDArray[np.int64] | int = 0) -> Scaled:
        """Return `values * 2**exponent`."""
        size = np.abs(values).max(axis=-1, initial=0.0)
        shift = np.frexp(size)[1].astype(np.int64)
        scaled = np.ldexp(values, -shift[..., None])
        return cls(scaled, np.where(size == 0, _OF_ZERO, shift + exponent))

    def __getitem__(self, rows: Any) -> Scaled:
        """Return some of the rows."""
        return Scaled(self.mantissa[rows], self.exponent[rows])

    def split(self, count: int) -> list[Scaled]:
        """Cut rows into `count` parts of equal size."""
        parts = np.split(self.mantissa, count, axis=-1)
        return [Scaled.of(part, self.exponent) for part in parts]

    def replaced(self, rows: Any, by: Scaled) -> Scaled:
        """Return a copy in which some of the rows are others."""
        mantissa, exponent = self.mantissa.copy(), self.exponent.copy()
        mantissa[rows], exponent[rows] = by.mantissa, by.exponent
        return Scaled(mantissa, exponent)

    def plain(self) -> Array:
        """Return the numbers themselves."""
        return np.asarray(np.ldexp(self.mantissa, self.exponent[..., None]))

    def plus(self, other: Scaled) -> Scaled:
        """Return the sum."""
        common = np.maximum(self.exponent, other.exponent)
        total = sum(np.ldexp(s.mantissa, (s.exponent - common)[..., None]) for s in (self, other))
        return Scaled.of(np.asarray(total), common)

    def log_norms(self, part: slice = slice(None)) -> Array:
        """Return the natural logarithm of the norm of each row, or of a part of it; -inf for 0."""
        with np.errstate(divide="ignore"):
            norms = np.log(np.linalg.norm(self.mantissa[..., part], axis=-1))
        return np.asarray(norms + self.exponent * np.log(2.0))

    def log_spectral_norm(self) -> float:
        """Return the natural logarithm of the largest singular value of the matrix of all rows."""
        common = self.exponent.max(initial=_OF_ZERO)
        matrix = np.ldexp(self.mantissa, (self.exponent - common)[..., None])
        with np.errstate(divide="ignore"):
            return float(np.log(np.linalg.norm(matrix, 2)) + common * np.log(2.0))
