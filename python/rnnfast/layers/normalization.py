"""Layer normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.arrays import CpuLayer, check_unchanged, trained_gradient
from rnnfast.layers.stream_layers import StreamLayer, StreamLayerNorm

_Kept = tuple[RealArray, RealArray, int]  # x, moments, fingerprint of x and the weight


class LayerNorm(CpuLayer):
    """Normalise rows: y = (x - mean) / sqrt(variance + eps) * weight + bias.

    x and y are (..., normalized_shape), and the mean and variance are those of each row along the
    last axis. The variance is the biased one: the sum of squares is divided by the size of the row.
    The weight is initially 1, and the bias 0.

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. Until
    `backward`, x and the weight must not change, because it reads them again. Only one thread at a
    time may train a layer.

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.

    Args:
        normalized_shape: Size of a row, the last axis of x.
        eps: Number added to the variance, at least 0.
        bias: Whether to add a bias.
        dtype: float32 or float64, to which arrays of other real types are converted.
        device: "cpu" or None, because the layer runs only on the CPU.

    Raises:
        ValueError: The size is less than 1, eps is negative, or the device is not the CPU.
        TypeError: An argument is of the wrong type.
    """

    dtype: np.dtype[Any]

    def __init__(
        self,
        normalized_shape: int,
        eps: float = 1e-5,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        device: str | None = None,
    ) -> None:
        super().__init__(device)
        self.normalized_shape = checks.size("normalized_shape", normalized_shape)
        self.eps = checks.finite("eps", eps, 0)
        self.dtype = checks.real_dtype("dtype", dtype)
        self.weight = self._add("weight", np.ones(self.normalized_shape, self.dtype))
        self.bias = (
            self._add("bias", np.zeros(self.normalized_shape, self.dtype))
            if checks.boolean("bias", bias)
            else None
        )

    def _run(self, x: ArrayLike) -> tuple[RealArray, _Kept | None]:
        given, weight = self._given(x), self.weight.value
        checks.last_axis("x", given, self.normalized_shape, "normalized_shape")
        array = self._input(given)
        y, moments = _core.layer_norm_forward(
            x=array,
            weight=weight,
            bias=None if self.bias is None else self.bias.value,
            eps=self.eps,
            need_moments=self.training,
        )
        return y, None if moments is None else (array, moments, _core.fingerprint(array, weight))

    def _differentiate(self, kept: _Kept, dy: ArrayLike, need_dx: bool) -> RealArray | None:
        x, moments, fingerprint = kept
        array = self._gradient(dy, x.shape, x.dtype)
        check_unchanged(fingerprint, x, self.weight.value)
        dx: RealArray | None = _core.layer_norm_backward(
            dy=array,
            x=x,
            moments=moments,
            weight=self.weight.value,
            dweight=trained_gradient(self.weight),
            dbias=trained_gradient(self.bias),
            need_dx=need_dx,
        )
        return dx

    def _stream_layers(self) -> list[StreamLayer]:
        bias = None if self.bias is None else self.bias.value
        return [StreamLayerNorm(self._backend, self.weight.value, bias, self.eps)]

    def extra_repr(self) -> str:
        """Return the size, and the options that differ from their defaults."""
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        return f"{self.normalized_shape}{eps}{'' if self.bias else ', bias=False'}"
