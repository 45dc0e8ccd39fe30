"""The operators that compute each value on its own, reductions and norms, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from rnnfast import _core
from rnnfast.onnx.activations import FUNCTIONS as OF_GATES
from rnnfast.onnx.session.call import (
    KERNEL_DTYPES,
    Array,
    Call,
    Maker,
    Operation,
    counted_axis,
    of_arrays,
    of_shapes,
)


def _activation(kind: str, otherwise: Operation) -> Maker:
    """Return the maker of a function that a kernel computes, unless x has another type."""

    def activate(x: Array, **attributes: Any) -> Array:
        if x.dtype in KERNEL_DTYPES:
            return _by_kernel(kind, x)
        return otherwise(x, **attributes).astype(x.dtype)

    return of_arrays(activate)


def _by_kernel(kind: str, x: Array) -> Array:
    """Return the function of a kernel, with values in the same order in memory."""
    if x.flags.c_contiguous:
        return _core.activation_forward(kind=kind, x=x)
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    y = _core.activation_forward(kind=kind, x=np.ascontiguousarray(x.transpose(order)))
    return y.transpose(np.argsort(order))


def _of_gate(name: str) -> Maker:
    """Return the maker of a function that is also one of a recurrent operator."""
    function = OF_GATES[name]

    def activate(x: Array, *, alpha: float | None = None, beta: float | None = None) -> Array:
        given = (alpha, beta)[: len(function.defaults)]
        values = [d if g is None else g for g, d in zip(given, function.defaults, strict=True)]
        y: Array = function.of(x, *values).astype(x.dtype)
        return y

    return of_arrays(activate)


def _gelu(call: Call) -> Operation:
    tanh = call.attributes.get("approximate", "none") == "tanh"
    kind = "gelu_tanh" if tanh else "gelu"
    return lambda x: _by_kernel(kind, x)


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return x / y
    quotient = np.abs(x) // np.abs(y)  # ONNX rounds towards zero
    return quotient if x.dtype.kind == "u" else (quotient * np.sign(x) * np.sign(y)).astype(x.dtype)


def _power(x: Array, y: Array) -> Array:
    result: Array = x**y
    return result.astype(x.dtype, copy=False)


def _modulo(x: Array, y: Array, *, fmod: int = 0) -> Array:
    return np.fmod(x, y) if fmod else np.mod(x, y)


def _clip(x: Array, min: Any = None, max: Any = None) -> Array:  # noqa: A002
    low, high = (None if v is None else x.dtype.type(v) for v in (min, max))
    return x if low is None and high is None else np.clip(x, low, high)


def _least(*arrays: Array) -> Array:
    return _folded(np.minimum, arrays)


def _greatest(*arrays: Array) -> Array:
    return _folded(np.maximum, arrays)


def _sum(*arrays: Array) -> Array:
    return _folded(np.add, arrays)


def _folded(function: Any, arrays: Sequence[Array]) -> Array:
    result = arrays[0]
    for array in arrays[1:]:
        result = function(result, array)
    return result


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def _prelu(x: Array, slope: Array) -> Array:
    return np.where(x < 0, x * slope, x)


def _reduction(function: Callable[..., Array]) -> Maker:
    def prepare(
        shape: tuple[int, ...],
        axes: Sequence[int] | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Operation:
        if not axes and noop_with_empty_axes:
            return lambda x: x
        chosen = tuple(axes) if axes else tuple(range(len(shape)))
        return partial(function, axis=chosen, keepdims=bool(keepdims))

    return of_shapes(prepare)


def _norm1(x: Array, **places: Any) -> Array:
    return np.add.reduce(np.abs(x), **places)


def _norm2(x: Array, **places: Any) -> Array:
    return np.sqrt(_sum_of_squares(x, **places))


def _sum_of_squares(x: Array, **places: Any) -> Array:
    return np.add.reduce(np.square(x), **places)


def _mean(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    count = math.prod(x.shape[k] for k in axis)
    total = np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]
    return total / x.dtype.type(count)


def _place(function: Any) -> Maker:
    def find(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
        if select_last_index:
            last = (
                x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=bool(keepdims))
            )
            return np.asarray(last)
        return np.asarray(function(x, axis=axis, keepdims=bool(keepdims)))

    return of_arrays(find)


def _softmax(logarithm: bool) -> Maker:
    def make(call: Call) -> Operation:
        flattens = call.opset < 13  # older sets normalise over all axes from `axis` on
        axis = call.attributes.get("axis", 1 if flattens else -1)

        def softmax(x: Array) -> Array:
            first = counted_axis(axis, x.ndim)
            axes = tuple(range(first, x.ndim)) if flattens else (first,)
            shifted = x - x.max(axes, keepdims=True)
            exponentials = np.exp(shifted)
            total = exponentials.sum(axes, keepdims=True)
            return shifted - np.log(total) if logarithm else exponentials / total

        return softmax

    return make


def _batch_norm(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,  # noqa: ARG001
    spatial: int = 1,  # noqa: ARG001
    training_mode: int = 0,
) -> Array:
    if training_mode:
        raise ValueError("expected training_mode = 0, got 1")
    factor = scale / np.sqrt(variance + x.dtype.type(epsilon))
    shape = (-1, *(1,) * (x.ndim - 2))
    return x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)


def _layer_norm(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,  # noqa: ARG001
) -> Array:
    axes = tuple(range(counted_axis(axis, x.ndim), x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axes, keepdims=True) + x.dtype.type(epsilon))
    y = centred / deviation * scale
    return y if bias is None else y + bias


_NUMPY: dict[str, Any] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Equal": np.equal,
    "Exp": np.exp,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Reciprocal": np.reciprocal,
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Where": np.where,
    "Xor": np.logical_xor,
}
_REDUCTIONS: dict[str, Callable[..., Array]] = {
    "ReduceL1": _norm1,
    "ReduceL2": _norm2,
    "ReduceMax": np.maximum.reduce,
    "ReduceMean": _mean,
    "ReduceMin": np.minimum.reduce,
    "ReduceProd": np.multiply.reduce,
    "ReduceSum": np.add.reduce,
    "ReduceSumSquare": _sum_of_squares,
}
REDUCTIONS: dict[str, Maker] = {
    name: _reduction(function) for name, function in _REDUCTIONS.items()
}
"""Operators whose inputs after the first, or else an attribute, decide the shape of the result."""

ARITHMETIC: dict[str, Maker] = {
    **{name: of_arrays(function) for name, function in _NUMPY.items()},
    **{
        name: _of_gate(name) for name in ("Elu", "HardSigmoid", "LeakyRelu", "Softplus", "Softsign")
    },
    **REDUCTIONS,
    "ArgMax": _place(np.argmax),
    "ArgMin": _place(np.argmin),
    "BatchNormalization": of_arrays(_batch_norm),
    "Clip": of_arrays(_clip),
    "Div": of_arrays(_divide),
    "Erf": of_arrays(_erf),
    "Gelu": _gelu,
    "LayerNormalization": of_arrays(_layer_norm),
    "LogSoftmax": _softmax(logarithm=True),
    "Max": of_arrays(_greatest),
    "Min": of_arrays(_least),
    "Mod": of_arrays(_modulo),
    "PRelu": of_arrays(_prelu),
    "Pow": of_arrays(_power),
    "Relu": of_arrays(lambda x: np.maximum(x, x.dtype.type(0))),
    "Sigmoid": _activation("sigmoid", OF_GATES["Sigmoid"].of),
    "Softmax": _softmax(logarithm=False),
    "Sum": of_arrays(_sum),
    "Tanh": _activation("tanh", np.tanh),
}
