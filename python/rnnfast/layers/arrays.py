"""The common base of the layers that take one array and return one array."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast import _core
from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.recording import recorded_call
from rnnfast.autograd.tensor import Tensor
from rnnfast.layers.calls import Call, Layer
from rnnfast.layers.parameter import Parameter


class ArrayCall(Call):
    """One call of a layer that takes one array and returns one, made by the layer's `call`.

    Attributes:
        y: The result that the layer returned.
    """

    __slots__ = ("y",)
    _layer: ArrayLayer

    def __init__(self, layer: ArrayLayer, y: RealArray, kept: Any) -> None:
        super().__init__(layer, kept)
        self.y = y

    def backward(self, dy: ArrayLike, *, need_dx: bool = True) -> RealArray | None:
        """Take gradients through this call, which works once; see the layer's `backward`."""
        return self._layer._take(self._kept, self._layer._differentiate, dy, need_dx)


class ArrayLayer(Layer):
    """A layer that takes one array and returns one array.

    A subclass implements `_run`, which returns y and the values that the gradient needs, and
    `_differentiate`, which computes dx from those values and dy.
    """

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> RealArray: ...
    def __call__(self, x: ArrayLike | Tensor) -> RealArray | Tensor:
        """Compute y; the class documents the shapes of x and y.

        If x is a `Tensor`, y is a `Tensor` as well, and the call is recorded.

        Raises:
            ValueError: The shape is wrong, or x is on a device that the layer does not run on.
            TypeError: x does not hold real numbers.
        """
        if type(x) is Tensor:
            return recorded_call(self, x)
        y, kept = self._run(x)
        self._calls.add(kept)
        return y

    def call(self, x: ArrayLike) -> ArrayCall:
        """Compute y, and return the call, whose attribute `y` is the result.

        `call.backward` takes the gradient, so that any number of calls can be differentiated in any
        order. The arguments and errors are those of calling the layer.
        """
        return ArrayCall(self, *self._run(x))

    def backward(self, dy: ArrayLike, *, need_dx: bool = True) -> RealArray | None:
        """Take gradients through the last call, adding those of the parameters to their `grad`.

        If an argument is refused, the call stays pending, so that you can try again.

        Args:
            dy: Gradient with respect to the last call's result, in its shape.
            need_dx: Whether to compute dx.

        Returns:
            dx in the shape of x, or None if `need_dx` is False.

        Raises:
            RuntimeError: No call in training mode is pending, or several are; or another thread is
                in `backward`; or an array that the gradient reads again has changed since the call.
            ValueError: The shape is wrong.
            TypeError: dy does not hold real numbers.
        """
        return self._take(self._calls.kept, self._differentiate, dy, need_dx)

    def _run(self, x: ArrayLike) -> tuple[RealArray, Any]:
        """Return y and the values that `_differentiate` needs, or None for these in evaluation."""
        raise NotImplementedError

    def _differentiate(self, kept: Any, dy: ArrayLike, need_dx: bool) -> RealArray | None:
        """Return dx if it is needed, and add the parameters' gradients to their `grad`."""
        raise NotImplementedError


class CpuLayer(ArrayLayer):
    """A layer that takes one array, returns one array, and runs only on the CPU.

    Attributes:
        dtype: The dtype that x is converted to; None if x keeps its own, float32 or float64.
    """

    dtype: np.dtype[Any] | None = None  # type: ignore[assignment]

    def __init__(self, device: str | None = "cpu") -> None:
        super().__init__(device)
        if self._backend is not backends.CPU:
            raise ValueError(
                f"device: expected 'cpu', as {type(self).__name__} runs only on the CPU, got "
                f"{self._backend.name!r}"
            )

    def _given(self, x: ArrayLike) -> NDArray[Any]:
        """Return x as a CPU array that is not converted yet, so that its shape can be checked."""
        backend = backends.of(x)
        if backend is not backends.CPU:
            raise ValueError(
                f"x: expected an array on the CPU, as {type(self).__name__} runs only on the CPU, "
                f"got one on device {backend.name!r}"
            )
        array: NDArray[Any] = backends.given("x", x)
        return array

    def _input(self, x: ArrayLike) -> RealArray:
        """Return x as a CPU array in the layer's dtype, or in its own if the layer has none."""
        array, dtype = self._given(x), self.dtype
        if dtype is None and array.dtype in backends.CPU.dtypes:
            dtype = array.dtype
        return checks.real_array("x", array, dtype, " (the layer's)" if self.dtype else "")

    @staticmethod
    def _gradient(dy: ArrayLike, y_shape: tuple[int, ...], dtype: np.dtype[Any]) -> RealArray:
        """Return dy as an array of y's dtype, after checking that it has y's shape."""
        return checks.shaped_array("dy", dy, dtype, y_shape, "of y", " (y's)")


def check_unchanged(
    fingerprint: int,
    x: RealArray,
    weight: RealArray,
    names: str = "x, weight",
    cure: str = "pass a copy of x to forward, and change the weight after backward",
) -> None:
    """Check that the arrays that backward reads again still match the forward pass's fingerprint.

    Raises:
        RuntimeError: They have changed.
    """
    if _core.fingerprint(x, weight) != fingerprint:
        raise RuntimeError(
            f"{names}: expected the values of the forward pass, which backward reads again, but "
            f"they have changed since; {cure}"
        )


def trained_gradient(parameter: Parameter | None) -> RealArray | None:
    """Return a parameter's gradient array, or None if it is frozen or the layer lacks it."""
    return parameter.grad if parameter is not None and parameter.requires_grad else None
