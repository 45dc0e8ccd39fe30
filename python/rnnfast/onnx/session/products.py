"""Convolutions, matrix products and pooling; constant weights are laid out once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnfast._engine.backends import CPU
from rnnfast.layers.stream_layers import StreamLinear
from rnnfast.layers.stream_plan import StreamPlan
from rnnfast.onnx.session.call import KERNEL_DTYPES, Array, Call, Maker, Operation, Shaped


class Linear:
    """The product x weight^T + bias with a constant weight, which the kernels keep packed.

    Args:
        weight: (O, I).
        bias: (O,), or None.
    """

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        self._weight, self._bias = np.ascontiguousarray(weight), bias
        self._inputs = weight.shape[1]
        self._step: Any = None
        if weight.dtype in KERNEL_DTYPES and weight.size:
            layer = StreamLinear(CPU, self._weight, bias)
            self._step = StreamPlan([layer]).stepper().step
            self._weight = layer.core[1]

    def __call__(self, x: Array, *_constants: Any) -> Array:
        """Return the product for x (..., I)."""
        if x.shape[-1:] != (self._inputs,):
            raise ValueError(f"expected x with {self._inputs} columns, got shape {x.shape}")
        if x.dtype != self._weight.dtype:
            raise ValueError(f"expected x of dtype {self._weight.dtype}, got {x.dtype}")
        if self._step is None or x.size == 0:
            y: Array = x @ self._weight.T
            return y if self._bias is None else y + self._bias
        rows = np.ascontiguousarray(x).reshape(-1, self._inputs)
        result: Array = self._step(rows, np.empty((len(rows), 0), x.dtype), None)
        return result if x.ndim == 2 else result.reshape(*x.shape[:-1], -1)


class Windows:
    """The windows of a convolution or of pooling, in arrays whose channels come last in memory.

    Args:
        call: The node, whose attributes say which windows.
        kernel: The sizes of a window; None for those of the attribute `kernel_shape`.
        fill: The value around an array.
    """

    def __init__(self, call: Call, kernel: Sequence[int] | None = None, fill: float = 0) -> None:
        attributes, self._fill = call.attributes, fill
        self.kernel = tuple(attributes.get("kernel_shape") or kernel or ())
        if kernel is not None and self.kernel != tuple(kernel):
            raise ValueError(f"expected kernel_shape {kernel}, as in the weight, got {self.kernel}")
        rank = len(self.kernel)
        self._strides = _sizes(attributes, "strides", [1] * rank)
        self._dilations = _sizes(attributes, "dilations", [1] * rank)
        self._pads = _sizes(attributes, "pads", [0] * 2 * rank)
        self._auto = attributes.get("auto_pad", "NOTSET")
        if min([*self.kernel, *self._strides, *self._dilations, *(p + 1 for p in self._pads)]) < 1:
            raise ValueError("expected positive sizes and no negative pads")

    def at(self, shape: tuple[int, ...], itemsize: int) -> Operation:
        """Return the function from arrays (B, C, ...) of a shape to their windows.

        They are a view (B, *outputs, *kernel, C) of a copy with the channels last and with padding.
        """
        rank = len(self.kernel)
        if len(shape) != 2 + rank:
            raise ValueError(f"expected an input with {2 + rank} axes, got shape {shape}")
        batch, channels, *sizes = shape
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self._dilations, strict=True)]
        around = self._around(sizes, spans)
        widths = [before + n + after for n, (before, after) in zip(sizes, around, strict=True)]
        for size, span, pair in zip(widths, spans, around, strict=True):
            if max(pair) > span or size < span:
                raise ValueError(f"expected pads of at most {span} and {span} values, got {size}")
        counts = [
            (n - span) // stride + 1
            for n, span, stride in zip(widths, spans, self._strides, strict=True)
        ]
        whole = (batch, *widths, channels)
        if math.prod(whole) > 2**20 + 64 * math.prod(shape):
            raise ValueError(f"expected pads in proportion to an input {shape}, got {whole}")
        *outer, _ = [math.prod(whole[k + 1 :]) * itemsize for k in range(len(whole))]
        steps = [s * n for s, n in zip(outer[1:], self._strides, strict=True)]
        within = [s * n for s, n in zip(outer[1:], self._dilations, strict=True)]
        windows = batch, *counts, *self.kernel, channels
        strides = outer[0], *steps, *within, itemsize
        last = (0, *range(2, 2 + rank), 1)
        place = (slice(None), *(slice(b, b + n) for n, (b, _) in zip(sizes, around, strict=True)))
        pads, fill = any(itertools.chain(*around)), self._fill

        def view(x: Array) -> Array:
            if not pads:
                source = np.ascontiguousarray(x.transpose(last))
            else:
                source = np.full(whole, fill, x.dtype) if fill else np.zeros(whole, x.dtype)
                source[place] = x.transpose(last)
            return np.ndarray(windows, x.dtype, source, 0, strides)

        return view

    def _around(self, sizes: Sequence[int], spans: Sequence[int]) -> list[tuple[int, int]]:
        """Return the padding before and after each axis."""
        rank = len(sizes)
        if self._auto == "VALID":
            return [(0, 0)] * rank
        if self._auto not in ("SAME_UPPER", "SAME_LOWER"):
            return list(zip(self._pads[:rank], self._pads[rank:], strict=True))
        totals = [
            max(0, (-(-size // stride) - 1) * stride + span - size)
            for size, stride, span in zip(sizes, self._strides, spans, strict=True)
        ]
        before = [(n if self._auto == "SAME_UPPER" else n + 1) // 2 for n in totals]
        return [(b, n - b) for b, n in zip(before, totals, strict=True)]


def _sizes(attributes: dict[str, Any], name: str, default: list[int]) -> list[int]:
    sizes: list[int] = attributes.get(name) or default
    if len(sizes) != len(default):
        raise ValueError(f"attribute {name}: expected {len(default)} numbers, got {sizes}")
    return sizes


def convolution(call: Call, weight: Array, bias: Array | None = None) -> Shaped:
    """Return a convolution with a constant weight, as a product of windows and the weight.

    Args:
        call: The node.
        weight: (O, I / groups, *kernel).
        bias: (O,), or None.

    Returns:
        A function from x (B, I, ...) to (B, O, ...), with the channels last in memory.
    """
    windows = Windows(call, weight.shape[2:])
    groups = call.attributes.get("group", 1)
    outputs, inputs = weight.shape[:2]
    if groups < 1 or outputs % groups:
        raise ValueError(f"expected groups that divide {outputs} outputs, got {groups}")
    rows = np.moveaxis(weight, 1, -1).reshape(groups, outputs // groups, -1)
    biases = [None] * groups if bias is None else bias.reshape(groups, -1)
    products = list(map(Linear, rows, biases))
    rank, size = len(windows.kernel), rows.shape[-1]
    channels_second = (0, rank + 1, *range(1, rank + 1))

    def prepare(shape: tuple[int, ...]) -> Operation:
        view = windows.at(shape, weight.itemsize)
        if shape[1] != inputs * groups:
            raise ValueError(f"expected {inputs * groups} channels, got {shape[1]}")

        def convolve(x: Array) -> Array:
            seen = view(x)
            if groups == 1:
                y = products[0](seen.reshape(-1, size))
            else:
                starts = range(0, inputs * groups, inputs)
                parts = [seen[..., start : start + inputs].reshape(-1, size) for start in starts]
                y = np.concatenate([f(part) for f, part in zip(products, parts, strict=True)], 1)
            return y.reshape(*seen.shape[: rank + 1], outputs).transpose(channels_second)

        return convolve

    return Shaped(prepare)


def _convolution(call: Call) -> Operation:
    weight, bias = call.constant(1), call.constant(2)
    if weight is not None and (bias is not None or not call.has(2)):
        return convolution(call, weight, bias)
    return lambda x, *weights: convolution(call, *weights)(x)


def _matmul(call: Call) -> Operation:
    weight = call.constant(1)
    if weight is None or weight.ndim != 2:
        return np.matmul
    return Linear(weight.T)


def _gemm(call: Call) -> Operation:
    alpha, beta = (call.attributes.get(name, 1.0) for name in ("alpha", "beta"))
    turns, turns_weight = (call.attributes.get(name, 0) for name in ("transA", "transB"))
    weight, bias = call.constant(1), call.constant(2)
    plain = alpha == beta == 1 and not turns
    if plain and weight is not None and (not call.has(2) or _is_row(bias, weight, turns_weight)):
        return Linear(
            weight if turns_weight else weight.T, None if bias is None else bias.reshape(-1)
        )

    def gemm(a: Array, b: Array, c: Array | None = None) -> Array:
        product = (a.T if turns else a) @ (b.T if turns_weight else b)
        product = product if alpha == 1 else product * product.dtype.type(alpha)
        return product if c is None else product + c * c.dtype.type(beta)

    return gemm


def _is_row(bias: Array | None, weight: Array, turns_weight: int) -> bool:
    """Return whether a bias has one value for each column of the result."""
    outputs = weight.shape[0 if turns_weight else 1]
    return bias is not None and bias.shape in ((outputs,), (1, outputs))


def _pooling(call: Call) -> Operation:
    attributes = call.attributes
    if attributes.get("ceil_mode") or attributes.get("storage_order") or call.node.proto.output[1:]:
        raise ValueError("expected neither ceil_mode, storage_order nor indices")
    rank = len(attributes.get("kernel_shape", ()))
    axes, order = tuple(range(-1 - rank, -1)), (0, rank + 1, *range(1, rank + 1))
    largest = call.node.proto.op_type == "MaxPool"
    windows = Windows(call, fill=-np.inf if largest else 0)
    counts_pads = attributes.get("count_include_pad", 0)

    def pool(x: Array) -> Array:
        view = windows.at(x.shape, x.itemsize)
        if largest:
            y = view(x).max(axes)
        elif counts_pads:
            y = view(x).mean(axes)
        else:
            y = view(x).sum(axes) / view(np.ones_like(x)).sum(axes)
        return y.transpose(order)

    return pool


def _global_average(_call: Call) -> Operation:
    return lambda x: x.mean(tuple(range(2, x.ndim)), keepdims=True)


PRODUCTS: dict[str, Maker] = {
    "AveragePool": _pooling,
    "Conv": _convolution,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "MatMul": _matmul,
    "MaxPool": _pooling,
}
