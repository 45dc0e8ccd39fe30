"""Layers that take a batch of sequences together with their lengths."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import arguments, backends
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.autograd.recording import recorded_call
from rnnfast.autograd.tensor import Tensor
from rnnfast.layers.arrays import ArrayCall, CpuLayer
from rnnfast.layers.axes import time_first


class SequenceLayer(CpuLayer):
    """A layer that takes one array, with the lengths of the sequences in it, and returns one."""

    @overload
    def __call__(self, x: Tensor, lengths: ArrayLike | None = None) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, lengths: ArrayLike | None = None) -> RealArray: ...
    def __call__(
        self, x: ArrayLike | Tensor, lengths: ArrayLike | None = None
    ) -> RealArray | Tensor:
        """Compute y; the class documents the shapes of x and y.

        If x is a `Tensor`, y is a `Tensor` as well, and the call is recorded.

        Args:
            x: A batch of sequences, or whatever input the layers of a container take.
            lengths: (B,) integers in [0, T], the lengths of the sequences; None for T.

        Raises:
            ValueError: A shape or a length is wrong, or x is not on the CPU.
            TypeError: x does not hold real numbers, or the lengths are not integers.
        """
        if type(x) is Tensor:
            return recorded_call(self, x, lengths)
        y, kept = self._run(x, lengths)
        self._calls.add(kept)
        return y

    def call(self, x: ArrayLike, lengths: ArrayLike | None = None) -> ArrayCall:
        """Compute y, and return the call, whose attribute `y` is the result.

        `call.backward` takes the gradient, so that any number of calls can be differentiated in any
        order. The arguments and errors are those of calling the layer.
        """
        return ArrayCall(self, *self._run(x, lengths))

    def _run(self, x: ArrayLike, lengths: ArrayLike | None = None) -> tuple[RealArray, Any]:
        raise NotImplementedError

    def _sequences(self, x: ArrayLike, batch_first: bool) -> RealArray:
        """Return a batch of sequences as (T, B, C) in C order, after checking its shape."""
        given = self._given(x)
        if given.ndim != 3:
            expected = "(B, T, C)" if batch_first else "(T, B, C)"
            raise ValueError(f"x: expected shape {expected}, got {given.shape}")
        array = self._input(given)
        return time_first("x", array) if batch_first else array

    def _lengths_after(self, lengths: IntArray) -> IntArray | None:
        """Return the lengths of the sequences in y, or None if y no longer holds sequences."""
        return lengths


def spans(lengths: ArrayLike | None, x: RealArray) -> IntArray:
    """Return the lengths of the sequences in x (T, B, C), which are T if None is given."""
    seq_len, batch = x.shape[:2]
    if lengths is None:
        return np.full(batch, seq_len)
    return arguments.checked_lengths(backends.CPU, lengths, seq_len, batch)


def clear_after(array: RealArray, lengths: IntArray) -> RealArray:
    """Set the steps after the end of each sequence of an array (T, B, C) to zero, in place."""
    if lengths.size and lengths.min() < len(array):
        array[np.arange(len(array))[:, None] >= lengths] = 0
    return array
