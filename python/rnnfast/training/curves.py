"""Loss curves: the points of a run's history that charts draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks

X_AXES = {"steps": "step", "seconds": "seconds", "items": "items"}  # and their columns
TRAINING, VALIDATION = "training", "validation"


class Columns(Protocol):
    """A history, of which only columns are needed here."""

    def __getitem__(self, name: str, /) -> Any:
        """Return a column as a float64 array."""


class Curve(NamedTuple):
    """The losses of a run, in training or in validation.

    Attributes:
        run: Name of the run; empty if it needs none.
        kind: `TRAINING` or `VALIDATION`.
        x: Where the losses were measured, in ascending order.
        y: The losses.
    """

    run: str
    kind: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def label(self) -> str:
        """What a legend says of the curve."""
        return f"{self.run}, {self.kind}" if self.run else self.kind


def curves(
    history: Columns, run: str = "", *, x: str = "steps", smoothing: float = 0.0
) -> list[Curve]:
    """Return the training curve of a run and, if the run was validated, its validation curve.

    Args:
        history: The measurements of the run.
        run: Name of the run.
        x: What the x axis counts: one of `X_AXES`.
        smoothing: Weight in [0, 1) of earlier training losses in the mean that is drawn.

    Raises:
        ValueError: An argument is out of range, or the run did not count its items.
        TypeError: `smoothing` is not a number.
    """
    places = history[X_AXES[checks.choice("x", x, X_AXES)]]
    if np.isnan(places).any():
        raise ValueError(
            f"x: expected steps or seconds, as the run did not count its items, got {x!r}"
        )
    factor = checks.number("smoothing", smoothing, 0, 1, open_high=True)
    found = []
    for kind, losses in ((TRAINING, history["loss"]), (VALIDATION, history["validation_loss"])):
        rows = np.isfinite(losses)
        if rows.any():
            drawn = smoothed(losses[rows], factor) if kind == TRAINING else losses[rows]
            found.append(Curve(run, kind, places[rows], drawn))
    return found


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Return running means of values, whose weights fall by a factor for each value that follows.

    The means are those of pandas: `Series.ewm(alpha=1 - weight).mean()`.

    Args:
        values: Finite values.
        weight: The factor, in [0, 1); 0 returns the values.
    """
    means, total, weights = np.empty_like(values), 0.0, 0.0
    for i, value in enumerate(values.tolist()):
        total, weights = weight * total + value, weight * weights + 1
        means[i] = total / weights
    return means


def thinned(curve: Curve, parts: int) -> Curve:
    """Return the points that show in a small chart: the extremes of each of `parts` ranges."""
    if curve.x.size <= 2 * parts:
        return curve
    bounds = np.linspace(0, curve.x.size, parts + 1).astype(int)
    kept = {0, curve.x.size - 1}
    for begin, end in pairwise(bounds):
        part = curve.y[begin:end]
        kept |= {int(begin + part.argmin()), int(begin + part.argmax())}
    rows = sorted(kept)
    return curve._replace(x=curve.x[rows], y=curve.y[rows])


def limits(drawn: Sequence[Curve]) -> tuple[float, float, float, float]:
    """Return the least and largest x and y of at least one curve, two pairs of different numbers.

    Returns:
        x_low, x_high, y_low and y_high.
    """
    (x_low, x_high), (y_low, y_high) = (
        (min(values.min() for values in axis), max(values.max() for values in axis))
        for axis in ([curve.x for curve in drawn], [curve.y for curve in drawn])
    )
    x_high = x_high if x_high > x_low else x_low + 1
    y_high = y_high if y_high > y_low else y_low + max(abs(y_low), 1) / 10
    return float(x_low), float(x_high), float(y_low), float(y_high)
