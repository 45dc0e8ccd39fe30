"""Dropout as a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import checks, seeds
from rnnfast._engine.checks import RealArray
from rnnfast.layers.arrays import CpuLayer
from rnnfast.layers.stream_layers import StreamLayer


class Dropout(CpuLayer):
    """Drop values of x in training: y is 0 with probability p, and x / (1 - p) otherwise.

    In evaluation mode, and with p = 0, y is x, which may have any shape. The mask depends only on
    the position of each value and on a seed that the layer draws for each call, so that it is the
    same for any number of threads. To save memory, it is not kept but computed again for the
    gradient.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    2014.

    Args:
        p: Probability that a value is dropped, in [0, 1].
        seed: Seed of the masks; None for a fresh seed.
    """

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        super().__init__()
        self.p = checks.number("p", p, 0, 1)
        self._generator = seeds.generator(seed)

    def _run(
        self, x: ArrayLike
    ) -> tuple[RealArray, tuple[int, tuple[int, ...], np.dtype[np.floating]] | None]:
        array = self._input(x)
        if not self.training:
            return array, None
        seed = 0
        if self.p:
            assert self._generator is not None
            seed = int(self._generator.integers(2**63))
        return self._masked(array, seed), (seed, array.shape, array.dtype)

    def _differentiate(
        self,
        kept: tuple[int, tuple[int, ...], np.dtype[np.floating]],
        dy: ArrayLike,
        need_dx: bool,
    ) -> RealArray | None:
        seed, shape, dtype = kept
        array = self._gradient(dy, shape, dtype)
        return self._masked(array, seed) if need_dx else None

    def _masked(self, array: RealArray, seed: int) -> RealArray:
        return _core.dropout(x=array, p=self.p, seed=seed) if self.p else array

    def _stream_layers(self) -> list[StreamLayer]:
        return []  # streams drop nothing

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
