"""The series of the backtest, and its origins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.datasets import co2, elec_equip, elnino, sunspots

Values = NDArray[np.float64]

HORIZON = 60
ORIGINS, STRIDE = 5, 7  # of the backtest: a stride that visits all seasons of a year


@dataclass(frozen=True)
class Series:
    """A series of statsmodels on the scale on which it is forecast.

    Attributes:
        name: Its name.
        season: Number of steps in a season.
        scaled: Its values, (N,), after a transform that makes their changes even.
        back: The inverse of the transform.
    """

    name: str
    season: int
    scaled: Values
    back: Callable[[Values], Values]

    @property
    def first(self) -> int:
        """The first origin: the number of steps that are known when the network learns."""
        return len(self.scaled) - HORIZON - (ORIGINS - 1) * STRIDE

    @property
    def origins(self) -> range:
        """The number of known steps at each origin."""
        return range(self.first, len(self.scaled) - HORIZON + 1, STRIDE)

    @property
    def values(self) -> Values:
        """The values on the scale of the source, (N,)."""
        return self.back(self.scaled)

    def calendar(self, start: int, stop: int) -> Values | None:
        """Return the covariates of steps, (steps, waves); None for a cycle without a calendar."""
        if self.season != 12:
            return None
        angles = 2 * np.pi * np.outer(np.arange(start, stop), [1, 2]) / self.season
        return np.hstack([np.sin(angles), np.cos(angles)])


def read_series() -> list[Series]:
    """Return the series with two horizons and a window, or more, before the first origin."""
    weekly = co2.load_pandas().data["co2"]
    carbon = weekly.resample("MS").mean().ffill()  # a month without values repeats the one before
    equipment = elec_equip.load_pandas().data.iloc[:, 0]
    pacific = elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel()
    spots = sunspots.load_pandas().data["SUNACTIVITY"]
    as_is: Callable[[Values], Values] = np.asarray
    return [
        Series("co2", 12, np.array(carbon), as_is),
        Series("elec_equip", 12, np.log(np.array(equipment)), np.exp),
        Series("elnino", 12, np.array(pacific), as_is),
        Series("sunspots", 11, np.sqrt(np.array(spots)), np.square),  # years, of the usual cycle
    ]
