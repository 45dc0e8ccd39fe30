"""The merging of the two directions of a bidirectional layer into one vector per step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.arrays import CpuLayer, check_unchanged


def _gradients_of_max(dy: RealArray, a: RealArray, b: RealArray) -> tuple[RealArray, RealArray]:
    share = np.where(a == b, 0.5, a > b).astype(dy.dtype)
    return dy * share, dy * (1 - share)


# The result for a and b of both directions, and the gradients of a and b.
_WAYS: dict[
    str,
    tuple[
        Callable[[RealArray, RealArray], RealArray],
        Callable[[RealArray, RealArray, RealArray], tuple[RealArray, RealArray]],
    ],
] = {
    "sum": (np.add, lambda dy, _a, _b: (dy, dy)),
    "mean": (lambda a, b: 0.5 * (a + b), lambda dy, _a, _b: (0.5 * dy, 0.5 * dy)),
    "product": (np.multiply, lambda dy, a, b: (dy * b, dy * a)),
    "max": (np.maximum, _gradients_of_max),
}


class MergeDirections(CpuLayer):
    """Compute y (..., H) from x (..., 2*H), which is the y of a bidirectional layer.

    A bidirectional layer puts the H values of its forward direction before those of its backward
    direction. This layer makes one vector of both, so that the layers after it need half as many
    weights.

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. Until
    `backward`, x must not change.

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.

    Args:
        how: "sum", "mean", "product" or "max". Two equal values share the gradient of their maximum
            evenly.
    """

    def __init__(self, how: str = "sum") -> None:
        super().__init__()
        self.how = checks.choice("how", how, _WAYS)

    def _run(self, x: ArrayLike) -> tuple[RealArray, tuple[RealArray, int] | None]:
        given = self._given(x)
        if given.ndim == 0 or given.shape[-1] % 2:
            raise ValueError(
                "x: expected shape (..., 2*hidden_size), with the outputs of both directions, got "
                f"{given.shape}"
            )
        array = self._input(given)
        merge, _ = _WAYS[self.how]
        y = merge(*_directions(array))
        return y, (array, _core.fingerprint(array, array)) if self.training else None

    def _differentiate(
        self, kept: tuple[RealArray, int], dy: ArrayLike, need_dx: bool
    ) -> RealArray | None:
        x, fingerprint = kept
        a, b = _directions(x)
        array = self._gradient(dy, a.shape, x.dtype)
        check_unchanged(fingerprint, x, x, "x", "change a copy instead")
        if not need_dx:
            return None
        _, gradients = _WAYS[self.how]
        dx: RealArray = np.concatenate(gradients(array, a, b), axis=-1)
        return dx

    def extra_repr(self) -> str:
        """Return how the directions are merged."""
        return repr(self.how)


def _directions(x: RealArray) -> tuple[RealArray, RealArray]:
    """Return the views of the forward and the backward direction."""
    hidden = x.shape[-1] // 2
    return x[..., :hidden], x[..., hidden:]
