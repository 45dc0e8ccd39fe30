"""What the losses have in common: where they compute, which steps count, how many become one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import arguments, backend, checks
from rnnfast._engine.backend import CPU
from rnnfast._engine.checks import RealArray

REDUCTIONS = ("mean", "sum", "none")

# The loss is a float, or an array with reduction="none".
LossAndGradient: TypeAlias = tuple[Any, RealArray]

_Loss = TypeVar("_Loss", bound=Callable[..., Any])


def quiet(loss: _Loss) -> _Loss:
    """Make a loss give infinities and NaN without NumPy's warnings, as the engine does."""

    @functools.wraps(loss)
    def call(*given: Any, **options: Any) -> Any:
        with np.errstate(all="ignore"):
            return loss(*given, **options)

    return cast(_Loss, call)


def real_array(name: str, value: ArrayLike, dtype: np.dtype[Any] | None = None) -> RealArray:
    """Return `value` as a C-contiguous array of reals, which must not be on a device.

    Raises:
        TypeError: It does not hold real numbers.
        ValueError: It is on a device.
    """
    on = backend.of(value)
    if on is not CPU:
        raise ValueError(
            f"{name}: expected an array of the CPU, where this loss is computed, got one on device "
            f"{on.name!r}; copy it to the CPU first"
        )
    return checks.real_array(name, value, dtype)


def step_mask(lengths: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which steps of an array of `shape` (T, B, ...) lie inside their sequences, (T, B).

    Raises:
        ValueError: The array has no axis of steps or of sequences, or the lengths do not fit it.
        TypeError: The lengths are not integers.
    """
    if len(shape) < 2:
        raise ValueError(
            f"lengths: expected None where losses have no axes of steps and sequences, got "
            f"lengths for shape {shape}"
        )
    steps, batch = shape[:2]
    inside: NDArray[np.bool_] = np.arange(steps)[:, None] < arguments.checked_lengths(
        CPU, lengths, steps, batch
    )
    return inside


class Reduction:
    """How the losses of an array become one, and which of its steps count.

    A loss takes what counts of its arrays by `of`, computes the losses and the gradient of their
    sum on these alone, and ends with `finish`. What lies past a sequence's end is never read.

    Args:
        reduction: One of `REDUCTIONS`.
        lengths: (B,) integers in [0, T], the sequences' lengths; None if all steps count.
        shape: Of the array, (T, B, ...) if there are lengths.

    Raises:
        ValueError: There is no such reduction, or the lengths do not fit the shape.
        TypeError: The lengths are not integers.
    """

    def __init__(self, reduction: str, lengths: ArrayLike | None, shape: tuple[int, ...]) -> None:
        self._kind = checks.choice("reduction", reduction, REDUCTIONS)
        self._mask = None if lengths is None else step_mask(lengths, shape)
        self._scalar = not shape

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what counts of an array: all, or (N, ...) with the N steps inside sequences."""
        return np.atleast_1d(array) if self._mask is None else array[self._mask]

    def finish(
        self, losses: RealArray, gradient: RealArray, count: float | None = None
    ) -> LossAndGradient:
        """Return the loss and its gradient, with zeros where steps do not count.

        Args:
            losses: Of what counts.
            gradient: Of their sum; it is changed in place.
            count: What the mean divides by; None for the number of losses. The mean over nothing is
                NaN, with a gradient of 0.
        """
        if self._kind == "none":
            return self._whole(losses), self._whole(gradient)
        loss = float(losses.sum(dtype=np.float64))
        if self._kind == "mean":
            count = losses.size if count is None else count
            loss = loss / count if count else math.nan
            gradient *= 1 / count if count else 0
        return loss, self._whole(gradient)

    def _whole(self, rows: RealArray) -> RealArray:
        if self._mask is None:
            return rows.reshape(rows.shape[1:]) if self._scalar else rows
        whole = np.zeros(self._mask.shape + rows.shape[1:], rows.dtype)
        whole[self._mask] = rows
        return whole
