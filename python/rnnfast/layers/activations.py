"""Elementwise activations, with fused kernels for the forward and the backward pass."""

from __future__ import annotations

from typing import ClassVar

from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.arrays import CpuLayer, check_unchanged
from rnnfast.layers.stream_layers import StreamElementwise, StreamLayer


class Activation(CpuLayer):
    """Apply a function to each value of x, which may have any shape; y has x's shape and dtype.

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. Until
    `backward`, the array that the derivative is computed from must not change: y for tanh, sigmoid
    and ReLU, x for the others.

    Attributes:
        kind: The function's name.
    """

    kind: str
    _keeps_y: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()

    def _run(self, x: ArrayLike) -> tuple[RealArray, tuple[RealArray, int] | None]:
        array = self._input(x)
        y: RealArray = _core.activation_forward(kind=self.kind, x=array)
        if not self.training:
            return y, None
        kept = y if self._keeps_y else array
        return y, (kept, _core.fingerprint(kept, kept))

    def _stream_layers(self) -> list[StreamLayer]:
        return [StreamElementwise(self._backend, "activation", self.kind)]

    def _differentiate(
        self, kept: tuple[RealArray, int], dy: ArrayLike, need_dx: bool
    ) -> RealArray | None:
        values, fingerprint = kept
        array = self._gradient(dy, values.shape, values.dtype)
        name = "y" if self._keeps_y else "x"
        check_unchanged(fingerprint, values, values, name, "change a copy instead")
        if not need_dx:
            return None
        dx: RealArray = _core.activation_backward(kind=self.kind, dy=array, kept=values)
        return dx


class Tanh(Activation):
    """tanh(x); see `Activation`."""

    kind = "tanh"
    _keeps_y = True


class Sigmoid(Activation):
    """1 / (1 + exp(-x)); see `Activation`."""

    kind = "sigmoid"
    _keeps_y = True


class ReLU(Activation):
    """max(x, 0), with 0 as the derivative at 0; see `Activation`."""

    kind = "relu"
    _keeps_y = True


class SiLU(Activation):
    """x * sigmoid(x), also called swish; see `Activation`."""

    kind = "silu"


class GELU(Activation):
    """x times the distribution function of the standard normal; see `Activation`.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Args:
        approximate: "none" for the exact function, or "tanh" for the approximation given in the
            source, whose `kind` is "gelu_tanh".
    """

    kind = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = checks.choice("approximate", approximate, ("none", "tanh"))
        if approximate == "tanh":
            self.kind = "gelu_tanh"

    def extra_repr(self) -> str:
        """Return the approximation, or nothing if the function is exact."""
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"
