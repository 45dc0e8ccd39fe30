"""Pooling over time: one vector per sequence, its last step or the mean or maximum of its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.layers.sequences import SequenceLayer, clear_after, spans

_Kept = tuple[IntArray, tuple[int, ...], np.dtype[Any]]  # steps from `_pool`; x's shape and dtype


class Pooling(SequenceLayer):
    """Compute y (B, C) from x (T, B, C), using the steps of each sequence up to its length.

    For a sequence without steps, y is zero.

    Args:
        batch_first: Whether x and dx are (B, T, C).
    """

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = checks.boolean("batch_first", batch_first)

    def _run(
        self, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> tuple[RealArray, _Kept | None]:
        array = self._sequences(x, self.batch_first)
        y, steps = self._pool(array, spans(lengths, array))
        return y, (steps, array.shape, array.dtype) if self.training else None

    def _differentiate(self, kept: _Kept, dy: ArrayLike, need_dx: bool) -> RealArray | None:
        steps, shape, dtype = kept
        array = self._gradient(dy, shape[1:], dtype)
        if not need_dx:
            return None
        dx = self._spread(array, steps, shape)
        return dx.swapaxes(0, 1) if self.batch_first else dx

    def _pool(self, x: RealArray, lengths: IntArray) -> tuple[RealArray, IntArray]:
        """Return y for x (T, B, C), and the integers by which `_spread` finds the steps used."""
        raise NotImplementedError

    def _spread(self, dy: RealArray, steps: IntArray, shape: tuple[int, ...]) -> RealArray:
        """Return dx (T, B, C), given the integers that `_pool` returned."""
        raise NotImplementedError

    def _lengths_after(self, lengths: IntArray) -> IntArray | None:  # noqa: ARG002
        return None

    def extra_repr(self) -> str:
        """Return the order of axes if it is not the default one."""
        return "batch_first=True" if self.batch_first else ""


class Last(Pooling):
    """Select the last step of each sequence; see `Pooling`.

    After a bidirectional layer, the reverse direction has read only one step at this point.
    """

    def _pool(self, x: RealArray, lengths: IntArray) -> tuple[RealArray, IntArray]:
        if _whole(lengths, len(x)):
            return x[-1].copy(), lengths.copy()
        some = np.flatnonzero(lengths)
        y = np.zeros(x.shape[1:], x.dtype)
        y[some] = x[lengths[some] - 1, some]
        return y, lengths.copy()  # because the caller may reuse its array

    def _spread(self, dy: RealArray, steps: IntArray, shape: tuple[int, ...]) -> RealArray:
        dx = np.zeros(shape, dy.dtype)
        if _whole(steps, shape[0]):
            dx[-1] = dy
            return dx
        some = np.flatnonzero(steps)
        dx[steps[some] - 1, some] = dy[some]
        return dx


class MeanPool(Pooling):
    """Compute the mean of each sequence's steps; see `Pooling`."""

    def _pool(self, x: RealArray, lengths: IntArray) -> tuple[RealArray, IntArray]:
        return _core.mean_pool(x=x, lengths=lengths), lengths.copy()

    def _spread(self, dy: RealArray, steps: IntArray, shape: tuple[int, ...]) -> RealArray:
        share = dy / np.maximum(steps, 1)[:, None].astype(dy.dtype)
        return clear_after(np.broadcast_to(share, shape).copy(), steps)


class MaxPool(Pooling):
    """Compute the maximum over each sequence's steps, channel by channel; see `Pooling`.

    The gradient goes to the step with the maximum, or to the first of several equal ones.
    """

    def _pool(self, x: RealArray, lengths: IntArray) -> tuple[RealArray, IntArray]:
        return _core.max_pool(x=x, lengths=lengths)

    def _spread(self, dy: RealArray, steps: IntArray, shape: tuple[int, ...]) -> RealArray:
        dx = np.zeros(shape, dy.dtype)
        sequence, channel = np.nonzero(steps >= 0)
        dx[steps[sequence, channel], sequence, channel] = dy[sequence, channel]
        return dx


def _whole(lengths: IntArray, steps: int) -> bool:
    """Return whether all sequences have `steps` > 0 steps, so that no rows need be picked."""
    return steps > 0 and bool(lengths.min(initial=steps) == steps)
