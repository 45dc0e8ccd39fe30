"""Scaling of columns to mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Scaling:
    """The mean and the standard deviation of columns; constant columns have deviation 1.

    Attributes:
        mean: Means (C,) in float64.
        deviation: Standard deviations (C,) in float64, above 0.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> Self:
        """Return the scaling of rows (N, C), where N is at least 1."""
        rows = rows.astype(np.float64, copy=False)
        # Sums and squares of large values would overflow. A power of two changes no other bits.
        factor = np.where(np.abs(rows).max(0) > 2.0**500, 2.0**-600, 1.0)
        rows = rows * factor
        mean, deviation = rows.mean(0) / factor, rows.std(0) / factor
        # Deviations of equal values that come only from rounding do not count.
        constant = deviation <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, deviation))

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return values (..., C) minus the mean, divided by the deviation."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def undo(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Invert `apply`: return the unscaled values."""
        return values * self.deviation + self.mean
