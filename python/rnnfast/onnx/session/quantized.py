"""Quantised operators; sums of products of integers are computed in float64, which is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from rnnfast.onnx.session.call import Array, Call, Maker, Operation, of_arrays
from rnnfast.onnx.session.products import Linear, convolution


def _dynamic(x: Array) -> list[Array]:
    low, high = np.minimum(x.min(initial=0), 0), np.maximum(x.max(initial=0), 0)
    scale = ((high - low) / np.float32(255)).astype(np.float32) or np.float32(1)
    zero = np.rint(np.clip(-low / scale, 0, 255))
    y = np.clip(np.rint(x / scale) + zero, 0, 255)
    return [y.astype(np.uint8), scale, zero.astype(np.uint8)]


def _quantise(
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    output_dtype: int = 0,
    **others: Any,
) -> Array:
    _refuse(others)
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if zero is None and output_dtype:
        dtype = helper.tensor_dtype_to_np_dtype(output_dtype)
    limits = np.iinfo(dtype)
    scale, start = (
        _along(x, v, axis) for v in (scale, np.zeros(1, dtype) if zero is None else zero)
    )
    y = np.rint(x / scale) + start.astype(np.float32)
    return np.clip(y, limits.min, limits.max).astype(dtype)


def _dequantise(
    x: Array, scale: Array, zero: Array | None = None, *, axis: int = 1, **others: Any
) -> Array:
    _refuse(others)
    return _centred(x, zero, axis, np.int32).astype(scale.dtype) * _along(x, scale, axis)


def _refuse(others: dict[str, Any]) -> None:
    wrong = [name for name, value in others.items() if name != "saturate" and value]
    if wrong:
        raise ValueError(f"expected no attribute {', '.join(wrong)}")


def _along(x: Array, values: Array, axis: int) -> Array:
    """Return values for each place of an axis of x, or one for all, in a shape that fits x."""
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[axis] = values.size
    return values.reshape(shape)


def _centred(x: Array, zero: Array | None, axis: int, dtype: Any) -> Array:
    wide = x.astype(dtype)
    return wide if zero is None else wide - _along(x, zero.astype(dtype), axis)


def _matmul(call: Call) -> Operation:
    weight, zero = call.constant(1), call.constant(3)
    if weight is None or weight.ndim != 2 or (call.has(3) and zero is None):

        def general(a: Array, b: Array, *zeros: Array | None) -> Array:
            a_zero, b_zero = (*zeros, None, None)[:2]
            left = _centred(a, a_zero, max(a.ndim - 2, 0), np.float64)
            return (left @ _centred(b, b_zero, b.ndim - 1, np.float64)).astype(np.int32)

        return general
    product = Linear(_centred(weight, zero, 1, np.float64).T)

    def with_weight(a: Array, _b: Array, a_zero: Array | None = None, *_: Array | None) -> Array:
        left = _centred(a, a_zero, max(a.ndim - 2, 0), np.float64)
        return product(left).astype(np.int32)

    return with_weight


def _convolution(call: Call) -> Operation:
    def made(weight: Array, zero: Array | None) -> Operation:
        return convolution(call, _centred(weight, zero, 0, np.float64))

    weight, zero = call.constant(1), call.constant(3)
    known = None
    if weight is not None and (zero is not None or not call.has(3)):
        known = made(weight, zero)

    def run(x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
        convolve = known or made(w, w_zero)
        return convolve(_centred(x, x_zero, 1, np.float64)).astype(np.int32)

    return run


QUANTISED: dict[str, Maker] = {
    "ConvInteger": _convolution,
    "DequantizeLinear": of_arrays(_dequantise),
    "DynamicQuantizeLinear": of_arrays(_dynamic),
    "MatMulInteger": _matmul,
    "QuantizeLinear": of_arrays(_quantise),
}
