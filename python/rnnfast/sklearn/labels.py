"""Labels of series: the pandas index, and its continuation over forecasts.

pandas is never imported here: a caller who passes its objects has already imported it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels:
    """Labels of a pandas series.

    Attributes:
        index: The index of the steps.
        columns: The names of the series, or None if it was a `Series`.
        name: The name of the `Series`.
    """

    index: Any
    columns: Any
    name: Any


def index_of(value: Any) -> Any:
    """Return the index of a `Series` or `DataFrame`; None for anything else."""
    pandas: Any = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.Series, pandas.DataFrame)):
        return None
    return value.index


def labels_of(series: Any) -> Labels | None:
    """Return the labels of a series; None if it is not a pandas object.

    Raises:
        ValueError: The index cannot be continued.
    """
    index = index_of(series)
    if index is None:
        return None
    _step(index)
    return Labels(index, getattr(series, "columns", None), getattr(series, "name", None))


def following(index: Any, steps: int) -> Any:
    """Return the index of the `steps` steps that follow an index."""
    pandas: Any = sys.modules["pandas"]
    step = _step(index)
    last = index[-1]
    if isinstance(index, pandas.PeriodIndex):
        return pandas.period_range(last + 1, periods=steps, name=index.name)
    if isinstance(index, pandas.DatetimeIndex):
        dates = pandas.date_range(last, periods=steps + 1, freq=step, name=index.name)
        return dates[dates > last][:steps]
    if isinstance(index, pandas.TimedeltaIndex):
        return pandas.timedelta_range(last + step, periods=steps, freq=step, name=index.name)
    start = int(last) + step
    return pandas.RangeIndex(start, start + steps * step, step, name=index.name)


def check_index(name: str, value: Any, expected: Any, meaning: str) -> None:
    """Check the index of a value, if it has one."""
    index = index_of(value)
    if index is not None and not index.equals(expected):
        ends = f"{expected[0]} to {expected[-1]} ({len(expected)} steps)"
        raise ValueError(
            f"{name}: expected the index {meaning}, {ends}, got {index[0]} to {index[-1]} "
            f"({len(index)} steps)"
        )


def labelled(
    values: NDArray[np.float64], labels: Labels, quantiles: tuple[float, ...] | None
) -> Any:
    """Return forecasts, (steps, series) or (steps, series, quantiles), with continued labels."""
    pandas: Any = sys.modules["pandas"]
    index = following(labels.index, len(values))
    if labels.columns is None:
        values = values[:, 0]
        if quantiles is None:
            return pandas.Series(values, index, name=labels.name)
        return pandas.DataFrame(values, index, pandas.Index(quantiles, name="quantile"))
    if quantiles is None:
        return pandas.DataFrame(values, index, labels.columns)
    names = [labels.columns.name, "quantile"]
    columns = pandas.MultiIndex.from_product([labels.columns, quantiles], names=names)
    return pandas.DataFrame(values.reshape(len(values), -1), index, columns)


def _step(index: Any) -> Any:
    """Return the step from one label to the next: a number, or an offset of pandas."""
    pandas: Any = sys.modules["pandas"]
    if isinstance(index, pandas.PeriodIndex):
        whole = pandas.period_range(index[0], periods=len(index))
        if index.equals(whole):
            return index.freq
    elif isinstance(index, pandas.DatetimeIndex):
        step = index.freq
        if step is None and len(index) > 2:
            step = pandas.DatetimeIndex(index, freq="infer").freq
        if step is not None and index.is_monotonic_increasing:
            return step
    elif isinstance(index, pandas.TimedeltaIndex) or index.dtype.kind in "iu":
        steps = np.unique(np.diff(index.to_numpy()))
        if len(steps) == 1 and steps[0] > np.zeros_like(steps[0]):
            integers = index.dtype.kind in "iu"
            return int(steps[0]) if integers else pandas.Timedelta(steps[0])
    raise ValueError(
        "y: expected an index of dates, periods, time differences or integers with equal steps, so "
        f"that it can be continued, got {index[:3].tolist()}, ...; `reset_index(drop=True)` "
        "numbers the steps"
    )
