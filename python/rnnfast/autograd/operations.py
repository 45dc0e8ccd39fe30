"""Functions of tensors.

They take tensors, parameters, arrays and numbers, and return a `Tensor`, with NumPy's shapes and
broadcasting.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends
from rnnfast.autograd.node import Array
from rnnfast.autograd.tensor import Operand, Tensor, computed, operand, value_of


def exp(x: Operand) -> Tensor:
    """Return the exponential of x."""
    x = operand(x)
    y = np.exp(value_of(x))
    return computed(y, (x, lambda g: g * y))


def log(x: Operand) -> Tensor:
    """Return the natural logarithm of x."""
    x = operand(x)
    a = value_of(x)
    return computed(np.log(a), (x, lambda g: g / a))


def sqrt(x: Operand) -> Tensor:
    """Return the square root of x."""
    x = operand(x)
    y = np.sqrt(value_of(x))
    return computed(y, (x, lambda g: g * (0.5 / y)))


def tanh(x: Operand) -> Tensor:
    """Return the hyperbolic tangent of x."""
    x = operand(x)
    y = np.tanh(value_of(x))
    return computed(y, (x, lambda g: g * (1 - y * y)))


def sigmoid(x: Operand) -> Tensor:
    """Return 1 / (1 + exp(-x)), computed by tanh so that nothing overflows."""
    x = operand(x)
    y = 0.5 * np.tanh(0.5 * value_of(x)) + 0.5
    return computed(y, (x, lambda g: g * y * (1 - y)))


def relu(x: Operand) -> Tensor:
    """Return max(x, 0), with derivative 0 at 0."""
    x = operand(x)
    a = value_of(x)
    return computed(np.maximum(a, 0), (x, lambda g: g * np.greater(a, 0)))


def softmax(x: Operand, axis: int = -1) -> Tensor:
    """Return exp(x) / sum(exp(x)) along an axis, computed so that nothing overflows."""
    x = operand(x)
    a = value_of(x)
    y = np.exp(a - np.max(a, axis, keepdims=True))
    y /= y.sum(axis, keepdims=True)
    return computed(y, (x, lambda g: y * (g - (g * y).sum(axis, keepdims=True))))


def log_softmax(x: Operand, axis: int = -1) -> Tensor:
    """Return the logarithm of the softmax along an axis."""
    x = operand(x)
    a = value_of(x)
    below = a - np.max(a, axis, keepdims=True)
    y = below - np.log(np.exp(below).sum(axis, keepdims=True))
    return computed(y, (x, lambda g: g - np.exp(y) * g.sum(axis, keepdims=True)))


def maximum(a: Operand, b: Operand) -> Tensor:
    """Return the larger of each two elements; equal ones share the gradient evenly."""
    return _extreme(np.maximum, operand(a), operand(b))


def minimum(a: Operand, b: Operand) -> Tensor:
    """Return the smaller of each two elements; equal ones share the gradient evenly."""
    return _extreme(np.minimum, operand(a), operand(b))


def _extreme(
    choose: np.ufunc, first: Tensor | Array | float, second: Tensor | Array | float
) -> Tensor:
    a, b = value_of(first), value_of(second)
    y = choose(a, b)
    both = 1 + np.equal(a, b)  # the number of elements that share the gradient
    return computed(
        y, (first, lambda g: g * (a == y) / both), (second, lambda g: g * (b == y) / both)
    )


def where(condition: ArrayLike, a: Operand, b: Operand) -> Tensor:
    """Return the elements of a where a condition, an array of bools, holds, and of b elsewhere."""
    first, second, holds = operand(a), operand(b), backends.array_of("condition", condition)
    if holds.dtype != np.bool_:
        raise TypeError(f"condition: expected an array of bools, got dtype {holds.dtype}")
    return computed(
        np.where(holds, value_of(first), value_of(second)),
        (first, lambda g: np.where(holds, g, 0)),
        (second, lambda g: np.where(holds, 0, g)),
    )


def matmul(a: Operand, b: Operand) -> Tensor:
    """Return the matrix product `a @ b` over the last two axes; the axes before are broadcast."""
    first, second = operand(a), operand(b)
    return _tensor(first) @ second


def concatenate(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis."""
    parts = [operand(part) for part in tensors]
    values = [np.asarray(value_of(part)) for part in parts]
    y = np.concatenate(values, axis)
    ends = np.cumsum([value.shape[axis] for value in values])
    before = (slice(None),) * (axis % y.ndim)
    spans = [(*before, slice(e - v.shape[axis], e)) for e, v in zip(ends, values, strict=True)]
    return computed(y, *[(part, lambda g, s=s: g[s]) for part, s in zip(parts, spans, strict=True)])


def stack(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Join tensors of the same shape along a new axis."""
    parts = [operand(part) for part in tensors]
    y = np.stack([value_of(part) for part in parts], axis)
    before = (slice(None),) * (axis % y.ndim)
    return computed(y, *[(part, lambda g, at=(*before, i): g[at]) for i, part in enumerate(parts)])


def _tensor(x: Tensor | Array | float) -> Tensor:
    return x if type(x) is Tensor else Tensor(np.asarray(x))
