"""History of a run: its measurements, in rows of a few steps each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from html import escape
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.training.curves import curves
from rnnfast.training.figure import draw, new_axes
from rnnfast.training.svg import svg_of


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
        items: Items of training batches so far, such as characters; NaN in a run that began with a
            version of rnnfast that did not count them.
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
    items: float


class History:
    """Rows of measurements: `history["loss"]` is a column, `history[-1]` a row."""

    def __init__(self) -> None:
        self._columns = {name: array("d") for name in Record._fields}

    def __len__(self) -> int:
        return len(self._columns["step"])

    def __getitem__(self, key: str | int) -> Any:
        """Return a column as a float64 array by its name, or a row by its number.

        Raises:
            ValueError: There is no such column.
            IndexError: There is no such row.
            TypeError: The key is neither a name nor a number.
        """
        if isinstance(key, str):
            checks.choice("column", key, Record._fields)
            return np.array(self._columns[key])
        if not isinstance(key, Integral):
            raise TypeError(
                f"history: expected the name of a column or the number of a row, got {key!r}"
            )
        if not -len(self) <= key < len(self):
            raise IndexError(f"history: expected one of {len(self)} rows, got number {key}")
        step, *others = (column[key] for column in self._columns.values())
        return Record(int(step), *others)

    def __repr__(self) -> str:
        """Return the number of rows, and the last losses."""
        return f"History({', '.join([f'{len(self)} rows', *self._last()])})"

    def _repr_html_(self) -> str:
        """Return a chart of the losses, for notebooks."""
        below = escape(repr(self))
        if not (drawn := curves(self)):
            return below
        return f"<figure>{svg_of(drawn, 'steps', 'loss')}<figcaption>{below}</figcaption></figure>"

    def plot(self, axes: Any = None, *, x: str = "steps", smoothing: float = 0.0) -> Any:
        """Draw the losses of training and validation with matplotlib.

        Args:
            axes: The `matplotlib.axes.Axes` to draw into; None for those of a new figure.
            x: What the x axis counts: "steps", "seconds" or "items".
            smoothing: Weight in [0, 1) of earlier training losses in the mean that is drawn.

        Returns:
            The axes.

        Raises:
            ValueError: The history is empty or did not count items, or an argument is out of range.
            TypeError: `smoothing` is not a number.
            ImportError: matplotlib is not installed.
        """
        drawn = curves(self, x=x, smoothing=smoothing)
        if not drawn:
            raise ValueError("history: expected at least one row to plot, got none")
        axes = new_axes() if axes is None else axes
        draw(axes, drawn, x, "loss")
        return axes

    def _last(self) -> Iterator[str]:
        for name in ("step", "loss", "validation_loss"):
            values = self[name]
            values = values[~np.isnan(values)]
            if values.size:
                yield f"{name}={values[-1]:.6g}"

    def append(self, record: Record) -> None:
        """Add a row."""
        for name, value in record._asdict().items():
            self._columns[name].append(value)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the columns that a file can hold, as it holds no NaN.

        Validation losses are stored for the rows that have one, and items if they were counted.
        """
        columns: dict[str, NDArray[Any]] = {name: self[name] for name in Record._fields}
        losses = columns.pop("validation_loss")
        if np.isnan(columns["items"]).any():
            del columns["items"]
        rows = np.flatnonzero(~np.isnan(losses))
        return columns | {"validation_row": rows, "validation_loss": losses[rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: `state` does not come from `state_dict`.
            TypeError: A column is of the wrong type.
        """
        names = [name for name in Record._fields if name != "validation_loss"]
        if "items" not in state:
            names.remove("items")
        checks.same_names("history", state, (*names, "validation_row", "validation_loss"))
        columns = {name: _column(name, state[name]) for name in names}
        sizes = {column.size for column in columns.values()}
        rows, losses = state["validation_row"], _column("validation_loss", state["validation_loss"])
        length = sizes.pop()
        if sizes or rows.dtype != np.int64 or rows.shape != losses.shape:
            raise ValueError("history: expected columns of the same length")
        if rows.size and not 0 <= rows.min() <= rows.max() < length:
            raise ValueError(f"history: expected rows in [0, {length}) in validation_row")
        validation = np.full(length, np.nan)
        validation[rows] = losses
        columns["validation_loss"] = validation
        columns.setdefault("items", np.full(length, np.nan))
        self._columns = {n: array("d", columns[n].tobytes()) for n in Record._fields}


def _column(name: str, column: Any) -> NDArray[np.float64]:
    if column.dtype != np.float64 or column.ndim != 1:
        raise TypeError(f"{name}: expected a column of float64")
    return np.ascontiguousarray(column)


_SMOOTHING = 0.05  # weight of a new step in running means


def smooth(mean: float | None, value: float) -> float:
    """Return a running mean updated with a value; `mean` is None before the first value."""
    return value if mean is None else mean + _SMOOTHING * (value - mean)


class Meter:
    """Measurements of steps: sums since the last row, and running means for the speed.

    Attributes:
        steps: Number of steps since the last row.
    """

    def __init__(self) -> None:
        self._step_items: float | None = None
        self._step_seconds: float | None = None
        self._start_row()

    def _start_row(self) -> None:
        self.steps = self._items = 0
        self._seconds = self._loss = 0.0
        self._norms: list[Any] = []  # on a device these stay arrays, so that no step waits

    def add(self, loss: float, norm: Any, items: int, seconds: float) -> None:
        """Add the measurements of one step."""
        self.steps += 1
        self._items += items
        self._seconds += seconds
        self._loss += loss
        self._norms.append(norm)
        self._step_items = smooth(self._step_items, items)
        self._step_seconds = smooth(self._step_seconds, seconds)

    @property
    def items_per_second(self) -> float:
        """Running mean of the items per second; 0 before the first step."""
        return (self._step_items or 0.0) / self._step_seconds if self._step_seconds else 0.0

    def end_row(self, clip_norm: float) -> dict[str, float]:
        """Return the measurements that go into a row, and start the next row.

        Args:
            clip_norm: The norm to which gradients are clipped; 0 for none.

        Returns:
            Values of columns of `Record`; there must have been at least one step.
        """
        norms = [float(norm) for norm in self._norms]
        clipped = sum(norm > clip_norm for norm in norms) if clip_norm else 0
        row = {
            "loss": self._loss / self.steps,
            "gradient_norm": sum(norms) / self.steps,
            "clip_share": clipped / self.steps,
            "items_per_second": self._items / self._seconds if self._seconds else 0.0,
        }
        self._start_row()
        return row
