"""Windows of time series."""

from __future__ import annotations

from typing import Any

from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import backends, checks


def windows(
    series: ArrayLike,
    length: int,
    horizon: int = 1,
    stride: int = 1,
    *,
    targets: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut a series into windows and the steps that follow each of them.

    Window w holds the `length` steps that start at w * stride, and its target the `horizon` steps
    after these. With N steps there are W = (N - length - horizon) // stride + 1 windows.

    Args:
        series: The series (N, C), or (N,) for a single channel, which is treated as C = 1.
        length: Number of steps T in a window.
        horizon: Number of steps to predict, at least 1.
        stride: Number of steps between the starts of two windows.
        targets: The series to predict, (N, K) or (N,), aligned with `series`; None for `series`.
        batch_first: Whether the axis of windows comes before that of steps.

    Returns:
        The windows (T, W, C) and their targets (horizon, W, K); with `batch_first`, (W, T, C)
        and (W, horizon, K). Both are read-only views, which take no memory of their own.

    Raises:
        ValueError: A shape does not fit, or the series is shorter than one window and its target.
        TypeError: An argument is of the wrong type.
    """
    length = checks.positive_int("length", length)
    horizon = checks.positive_int("horizon", horizon)
    stride = checks.positive_int("stride", stride)
    checks.boolean("batch_first", batch_first)
    source = _channels("series", series)
    wanted = source if targets is None else _channels("targets", targets)
    if len(wanted) != len(source):
        raise ValueError(f"targets: expected {len(source)} steps, as in series, got {len(wanted)}")
    if len(source) < length + horizon:
        raise ValueError(
            f"series: expected at least length + horizon = {length + horizon} steps, got "
            f"{len(source)}"
        )
    last = len(source) - horizon
    x = sliding_window_view(source[:last], length, axis=0)[::stride]
    y = sliding_window_view(wanted[length:], horizon, axis=0)[::stride]
    axes = (0, 2, 1) if batch_first else (2, 0, 1)
    return x.transpose(axes), y.transpose(axes)


def _channels(name: str, series: ArrayLike) -> NDArray[Any]:
    array: NDArray[Any] = backends.array_of(name, series)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: expected shape (N, C) or (N,), got {array.shape}")
    return array[:, None] if array.ndim == 1 else array
