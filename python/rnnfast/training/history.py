"""What a run measured, in rows of a few steps each."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks


class Record(NamedTuple):
    """A row of the history: the steps since the row before.

    Attributes:
        step: optimiser steps made.
        epoch: passes over the data made.
        seconds: time that the run has taken.
        loss: mean of the training loss over the row's steps.
        validation_loss: the loss measured at this step; NaN if there was no validation.
        learning_rate: that of the last step.
        gradient_norm: mean of the gradients' norms before they were clipped.
        clip_share: part of the steps whose gradients `clip_norm` scaled down.
        items_per_second: items of the training batches a second, all else not counted.
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
    """The rows of a run: `history["loss"]` is a column, `history[-1]` a row."""

    def __init__(self) -> None:
        self._columns = {name: array("d") for name in Record._fields}

    def __len__(self) -> int:
        return len(self._columns["step"])

    def __getitem__(self, key: str | int) -> Any:
        """A column as an array of float64, by its name; or a row, by its number."""
        if isinstance(key, str):
            checks.choice("column", key, Record._fields)
            return np.array(self._columns[key])
        step, *others = (column[key] for column in self._columns.values())
        return Record(int(step), *others)

    def append(self, record: Record) -> None:
        """Adds a row."""
        for name, value in record._asdict().items():
            self._columns[name].append(value)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The columns; of the validation losses those that there are, with their rows."""
        columns: dict[str, NDArray[Any]] = {name: self[name] for name in Record._fields}
        losses = columns.pop("validation_loss")
        rows = np.flatnonzero(~np.isnan(losses))
        return columns | {"validation_row": rows, "validation_loss": losses[rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets what `state_dict` gave.

        Raises:
            ValueError: it did not give this.
            TypeError: a column is of the wrong type.
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
    """The running mean after one more value; None before the first one."""
    return value if mean is None else mean + _SMOOTHING * (value - mean)


class Speed:
    """Running means of the items and the time of a step."""

    def __init__(self) -> None:
        self._items: float | None = None
        self._seconds: float | None = None

    def add(self, items: int, seconds: float) -> None:
        """Counts one step."""
        self._items, self._seconds = smooth(self._items, items), smooth(self._seconds, seconds)

    @property
    def items_per_second(self) -> float:
        """How many items a second; 0 at first."""
        return (self._items or 0.0) / self._seconds if self._seconds else 0.0


class Meter:
    """Sums over the steps since the last row."""

    def __init__(self) -> None:
        self.steps = self.items = 0
        self.seconds = self._loss = 0.0
        self._norms: list[Any] = []  # of a device: arrays that are not waited for

    def add(self, loss: float, norm: Any, items: int, seconds: float) -> None:
        """Counts one step."""
        self.steps += 1
        self.items += items
        self.seconds += seconds
        self._loss += loss
        self._norms.append(norm)

    def means(self, clip_norm: float) -> dict[str, float]:
        """What a row says of the steps, of which there must be one."""
        norms = [float(norm) for norm in self._norms]
        clipped = sum(norm > clip_norm for norm in norms) if clip_norm else 0
        return {
            "loss": self._loss / self.steps,
            "gradient_norm": sum(norms) / self.steps,
            "clip_share": clipped / self.steps,
            "items_per_second": self.items / self.seconds if self.seconds else 0.0,
        }
