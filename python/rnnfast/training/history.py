"""History of a run: its measurements, in rows of a few steps each."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks


class Record(NamedTuple):
    """A row of the history, which covers the steps since the previous row.

    Attributes:
        step: Number of optimiser steps so far.
        epoch: Number of passes over the data so far.
        seconds: Seconds that the run has taken so far.
        loss: Mean training loss over the row's steps.
        validation_loss: The loss measured at this step; NaN if there was no validation.
        learning_rate: Learning rate of the row's last step.
        gradient_norm: Mean norm of the gradients before clipping.
        clip_share: Fraction of the steps whose gradients `clip_norm` scaled down.
        items_per_second: Items of training batches per second, timing only the steps.
    """

    step: int
    epoch: float
    seconds: float
    loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    clip_share: float
    items_per_second: float


class History:
    """Rows of measurements: `history["loss"]` is a column, `history[-1]` a row."""

    def __init__(self) -> None:
        self._columns = {name: array("d") for name in Record._fields}

    def __len__(self) -> int:
        return len(self._columns["step"])

    def __getitem__(self, key: str | int) -> Any:
        """Return a column as a float64 array by its name, or a row by its number."""
        if isinstance(key, str):
            checks.choice("column", key, Record._fields)
            return np.array(self._columns[key])
        step, *others = (column[key] for column in self._columns.values())
        return Record(int(step), *others)

    def append(self, record: Record) -> None:
        """Add a row."""
        for name, value in record._asdict().items():
            self._columns[name].append(value)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the columns; validation losses are stored only for rows that have one."""
        columns: dict[str, NDArray[Any]] = {name: self[name] for name in Record._fields}
        losses = columns.pop("validation_loss")
        rows = np.flatnonzero(~np.isnan(losses))
        return columns | {"validation_row": rows, "validation_loss": losses[rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: `state` does not come from `state_dict`.
            TypeError: A column is of the wrong type.
        """
        names = [name for name in Record._fields if name != "validation_loss"]
        checks.same_names("history", state, (*names, "validation_row", "validation_loss"))
        columns = {name: _column(name, state[name]) for name in names}
        sizes = {column.size for column in columns.values()}
        rows, losses = state["validation_row"], _column("validation_loss", state["validation_loss"])
        length = sizes.pop()
        if sizes or rows.dtype != np.int64 or rows.shape != losses.shape:
            raise ValueError("history: expected columns of one length")
        if rows.size and not 0 <= rows.min() <= rows.max() < length:
            raise ValueError(f"history: expected rows in [0, {length}) in validation_row")
        validation = np.full(length, np.nan)
        validation[rows] = losses
        columns["validation_loss"] = validation
        self._columns = {n: array("d", columns[n].tobytes()) for n in Record._fields}


def _column(name: str, column: Any) -> NDArray[np.float64]:
    if column.dtype != np.float64 or column.ndim != 1:
        raise TypeError(f"{name}: expected a column of float64")
    return np.ascontiguousarray(column)


_SMOOTHING = 0.05  # weight of a new step in running means


def smooth(mean: float | None, value: float) -> float:
    """Return a running mean updated with a value; `mean` is None before the first value."""
    return value if mean is None else mean + _SMOOTHING * (value - mean)


class Speed:
    """Running means of the items and the time of a step."""

    def __init__(self) -> None:
        self._items: float | None = None
        self._seconds: float | None = None

    def add(self, items: int, seconds: float) -> None:
        """Add the measurements of one step."""
        self._items, self._seconds = smooth(self._items, items), smooth(self._seconds, seconds)

    @property
    def items_per_second(self) -> float:
        """Items per second; 0 before the first step."""
        return (self._items or 0.0) / self._seconds if self._seconds else 0.0


class Meter:
    """Sums over the steps since the last row."""

    def __init__(self) -> None:
        self.steps = self.items = 0
        self.seconds = self._loss = 0.0
        self._norms: list[Any] = []  # on a device these stay arrays, so that no step waits

    def add(self, loss: float, norm: Any, items: int, seconds: float) -> None:
        """Add the measurements of one step."""
        self.steps += 1
        self.items += items
        self.seconds += seconds
        self._loss += loss
        self._norms.append(norm)

    def means(self, clip_norm: float) -> dict[str, float]:
        """Return the means that go into a row; requires at least one step."""
        norms = [float(norm) for norm in self._norms]
        clipped = sum(norm > clip_norm for norm in norms) if clip_norm else 0
        return {
            "loss": self._loss / self.steps,
            "gradient_norm": sum(norms) / self.steps,
            "clip_share": clipped / self.steps,
            "items_per_second": self.items / self.seconds if self.seconds else 0.0,
        }
