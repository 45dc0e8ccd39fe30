"""Code shared by the losses: checks of arrays, masks of sequences, and reductions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import arguments, backends, checks
from rnnfast._engine.backends import CPU
from rnnfast._engine.checks import RealArray

REDUCTIONS = ("mean", "sum", "none")

# A loss, which is a float, or an array with reduction="none"; and its gradient.
LossAndGradient: TypeAlias = tuple[Any, RealArray]

_Loss = TypeVar("_Loss", bound=Callable[..., Any])


def quiet(loss: _Loss) -> _Loss:
    """Suppress NumPy's warnings in a loss, as the engine does not warn of infinities or NaN."""

    @functools.wraps(loss)
    def call(*given: Any, **options: Any) -> Any:
        with np.errstate(all="ignore"):
            return loss(*given, **options)

    return cast(_Loss, call)


def on_cpu(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return `value`, which must be on the CPU, as an array that is not converted or copied.

    Its shape can be checked before `checks.real_array` converts it, which copies it.

    Raises:
        TypeError: The value is a masked array.
        ValueError: The value is not on the CPU.
    """
    backend = backends.of(value)
    if backend is not CPU:
        raise ValueError(
            f"{name}: expected an array on the CPU, where this loss is computed, got one on device "
            f"{backend.name!r}; copy it to the CPU first"
        )
    array: NDArray[Any] = backends.given(name, value)
    return array


def step_mask(lengths: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask (T, B) of the steps of an array (T, B, ...) that lie inside their sequences.

    Raises:
        ValueError: The shape has no axes of steps and sequences, or the lengths do not match it.
        TypeError: The lengths are not integers.
    """
    if len(shape) < 2:
        raise ValueError(
            f"lengths: expected None, as losses of shape {shape} have no axes of steps and "
            "sequences, got lengths"
        )
    steps, batch = shape[:2]
    inside: NDArray[np.bool_] = np.arange(steps)[:, None] < arguments.checked_lengths(
        CPU, lengths, steps, batch
    )
    return inside


class Reduction:
    """A reduction of losses to one value, which leaves out steps past the sequences' ends.

    A loss selects the elements that count by `of`, computes the losses and the gradient of their
    sum only for these, and ends with `finish`. Elements past a sequence's end are never read.

    Args:
        reduction: One of `REDUCTIONS`.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None if all steps count.
        shape: Shape of the array, (T, B, ...) if lengths are given.

    Raises:
        ValueError: The reduction is unknown, or the lengths do not match the shape.
        TypeError: The lengths are not integers.
    """

    def __init__(self, reduction: str, lengths: ArrayLike | None, shape: tuple[int, ...]) -> None:
        self._kind = checks.choice("reduction", reduction, REDUCTIONS)
        self._mask = None if lengths is None else step_mask(lengths, shape)
        self._scalar = not shape

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the elements that count: all, or (N, ...) for the N steps inside sequences."""
        return np.atleast_1d(array) if self._mask is None else array[self._mask]

    def finish(
        self, losses: RealArray, gradient: RealArray, count: float | None = None
    ) -> LossAndGradient:
        """Return the loss and its gradient, with zeros for the steps that do not count.

        Args:
            losses: Losses of the elements that count.
            gradient: Gradient of the sum of these losses; it is changed in place.
            count: Divisor of the mean; None for the number of losses. With a divisor of 0, the mean
                is NaN and its gradient 0.
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
