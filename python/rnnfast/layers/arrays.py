"""Layers of one array in and one array out: what their calls have in common."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import backend, checks
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.recording import recorded_call
from rnnfast.autograd.tensor import Tensor
from rnnfast.layers.calls import Call, Layer
from rnnfast.layers.parameter import Parameter


class ArrayCall(Call):
    """One call of a layer of one array in and one out, made by its `call`.

    Attributes:
        y: What the layer returns.
    """

    __slots__ = ("y",)
    _layer: ArrayLayer

    def __init__(self, layer: ArrayLayer, y: RealArray, kept: Any) -> None:
        super().__init__(layer, kept)
        self.y = y

    def backward(self, dy: ArrayLike, *, need_dx: bool = True) -> RealArray | None:
        """Take gradients through this call, once; the rest is as in the layer's `backward`."""
        return self._layer._take(self._kept, self._layer._differentiate, dy, need_dx)


class ArrayLayer(Layer):
    """A layer of one array in and one array out.

    A subclass has `_run`, which returns y and what the gradient needs, and `_differentiate`, which
    makes dx of that and of dy.
    """

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> RealArray: ...
    def __call__(self, x: ArrayLike | Tensor) -> RealArray | Tensor:
        """Compute y; its shape and that of x are told of the layer.

        Of a `Tensor` y is one, too, and the call is recorded.

        Raises:
            ValueError: The shape is wrong, or x is on a device that the layer does not run on.
            TypeError: The array has no real numbers.
        """
        if type(x) is Tensor:
            return recorded_call(self, x)
        y, kept = self._run(x)
        self._calls.add(kept)
        return y

    def call(self, x: ArrayLike) -> ArrayCall:
        """Compute y, and return the call, of which `y` is the result.

        `call.backward` takes the gradient: of any number of calls, in any order. Arguments and
        errors are those of calling the layer.
        """
        return ArrayCall(self, *self._run(x))

    def backward(self, dy: ArrayLike, *, need_dx: bool = True) -> RealArray | None:
        """Take gradients through the last call, adding those of parameters to `grad`.

        Arguments that are refused leave the call as it is, for another try.

        Args:
            dy: Gradient of the last call's result, in its shape.
            need_dx: Whether dx is wanted.

        Returns:
            dx in the shape of x, or None if not wanted.

        Raises:
            RuntimeError: No call in training mode came before, or its gradient was already taken,
                or there were several; or another thread is in `backward`; or what the gradient
                reads again was changed since.
            ValueError: The shape is wrong.
            TypeError: The array has no real numbers.
        """
        return self._take(self._calls.kept, self._differentiate, dy, need_dx)

    def _run(self, x: ArrayLike) -> tuple[RealArray, Any]:
        """Return y and, in training, what `_differentiate` needs; else None."""
        raise NotImplementedError

    def _differentiate(self, kept: Any, dy: ArrayLike, need_dx: bool) -> RealArray | None:
        """Return dx if it is needed, and add the gradients of parameters to theirs."""
        raise NotImplementedError


class CpuLayer(ArrayLayer):
    """A layer of one array in and one array out that runs on the CPU alone.

    Attributes:
        dtype: The type that x is converted to; None if x keeps its own, float32 or float64.
    """

    dtype: np.dtype[Any] | None = None  # type: ignore[assignment]

    def __init__(self, device: str | None = "cpu") -> None:
        super().__init__(device)
        if self._on is not backend.CPU:
            raise ValueError(
                f"device: expected 'cpu', as {type(self).__name__} runs on the CPU alone, got "
                f"{self._on.name!r}"
            )

    def _input(self, x: ArrayLike) -> RealArray:
        """Return x as an array of the CPU in the layer's type, or in its own."""
        on = backend.of(x)
        if on is not backend.CPU:
            raise ValueError(
                f"x: expected an array of the CPU, as {type(self).__name__} runs on the CPU alone, "
                f"got one of device {on.name!r}"
            )
        dtype = self.dtype
        if dtype is None and type(x) is np.ndarray and x.dtype in on.dtypes:
            dtype = x.dtype
        return checks.real_array("x", x, dtype, " (the layer's)" if self.dtype else "")

    @staticmethod
    def _gradient(dy: ArrayLike, y_shape: tuple[int, ...], dtype: np.dtype[Any]) -> RealArray:
        """Return dy as an array of y's shape and type."""
        array = checks.real_array("dy", dy, dtype, " (y's)")
        checks.shape("dy", array, y_shape, "of y")
        return array


def check_unchanged(
    fingerprint: int,
    x: RealArray,
    weight: RealArray,
    names: str = "x, weight",
    cure: str = "give forward a copy of x, change the weight after backward",
) -> None:
    """Check what backward reads again against the fingerprint that forward took of it."""
    if _core.fingerprint(x, weight) != fingerprint:
        raise RuntimeError(
            f"{names}: expected the values of the forward pass, which backward reads again, but "
            f"they were changed in between; {cure}"
        )


def trained_gradient(parameter: Parameter | None) -> RealArray | None:
    """Return the array that a gradient is added to; None of a parameter not there or frozen."""
    return parameter.grad if parameter is not None and parameter.requires_grad else None


def added_gradient(parameter: Parameter) -> RealArray:
    """Return the array that a gradient is added to: for a frozen parameter another, of no use."""
    return parameter.grad if parameter.requires_grad else np.zeros_like(parameter.grad)
