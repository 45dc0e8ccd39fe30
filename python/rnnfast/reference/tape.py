"""Reverse-mode differentiation of NumPy expressions: the operations that recurrent cells need.

A `Var` is an array and a note of how it came about. `backward` walks the notes from the results to
the inputs and adds up gradients, so a cell's reference is its plain forward equations and its
gradients share nothing with hand-written ones. The tape computes in whatever real type its arrays
have. The functions of cells are open to other kinds of values (`functools.singledispatch`), so that
the same equations serve them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Pullback: TypeAlias = "Callable[[Array], Array]"
Activation: TypeAlias = "Callable[[Var], Var]"


class Var:
    """An array of the expression graph.

    Attributes:
        value: the array.
        grad: gradient of the results with respect to it, of its shape; None before `backward`, and
            after it where no result depends on it.
    """

    __array_ufunc__ = None  # ndarray + Var asks Var, not NumPy's elementwise object loop
    __slots__ = ("_parents", "grad", "value")

    def __init__(self, value: Array, *parents: tuple[Var | Array | float, Pullback]) -> None:
        self.value = value
        self.grad: Array | None = None
        self._parents = [(parent, back) for parent, back in parents if isinstance(parent, Var)]

    def __add__(self, other: Var | Array | float) -> Var:
        return Var(self.value + value_of(other), (self, lambda g: g), (other, lambda g: g))

    def __sub__(self, other: Var | Array | float) -> Var:
        return Var(self.value - value_of(other), (self, lambda g: g), (other, lambda g: -g))

    def __rsub__(self, other: Array | float) -> Var:
        return Var(other - self.value, (self, lambda g: -g))

    def __mul__(self, other: Var | Array | float) -> Var:
        a, b = self.value, value_of(other)
        return Var(a * b, (self, lambda g: g * b), (other, lambda g: g * a))

    def __matmul__(self, other: Var) -> Var:
        a, b = self.value, other.value
        return Var(a @ b, (self, lambda g: g @ b.T), (other, lambda g: a.T @ g))

    __radd__, __rmul__ = __add__, __mul__


def value_of(v: Var | Array | float) -> Array | float:
    """The plain value of a Var or of a constant."""
    return v.value if isinstance(v, Var) else v


def gradient_of(v: Var) -> Array:
    """The gradient of v after `backward`: zeros where no result depends on it."""
    return np.zeros_like(v.value) if v.grad is None else v.grad


@singledispatch
def sigmoid(v: Var) -> Var:
    """1 / (1 + exp(-v)), written with tanh so that nothing overflows."""
    y = 0.5 * np.tanh(0.5 * v.value) + 0.5
    return Var(y, (v, lambda g: g * y * (1 - y)))


@singledispatch
def tanh(v: Var) -> Var:
    """Hyperbolic tangent."""
    y = np.tanh(v.value)
    return Var(y, (v, lambda g: g * (1 - y * y)))


@singledispatch
def relu(v: Var) -> Var:
    """max(0, v), with derivative 0 at 0; NaN stays NaN."""
    return where(v.value <= 0, Var(np.zeros_like(v.value)), v)


def where(condition: NDArray[np.bool_], a: Var, b: Var) -> Var:
    """Elements of a where condition holds, of b elsewhere; condition broadcasts to their shape."""
    return Var(
        np.where(condition, a.value, b.value),
        (a, lambda g: np.where(condition, g, 0)),
        (b, lambda g: np.where(condition, 0, g)),
    )


def concatenate(parts: list[Var]) -> Var:
    """Parts side by side along the last axis."""
    ends = np.cumsum([part.value.shape[-1] for part in parts])
    spans = [slice(e - part.value.shape[-1], e) for part, e in zip(parts, ends, strict=True)]
    return Var(
        np.concatenate([part.value for part in parts], axis=-1),
        *[(part, lambda g, s=s: g[..., s]) for part, s in zip(parts, spans, strict=True)],
    )


def backward(results: Iterable[tuple[Var, Array]]) -> None:
    """Sets `grad` of everything that the results depend on.

    Args:
        results: pairs of a result and the gradient of the objective with respect to it, of its
            shape. A Var may occur several times: its gradients add up.
    """
    results = list(results)
    for result, gradient in results:
        _accumulate(result, gradient)
    for node in reversed(_inputs_first([result for result, _ in results])):
        for parent, back in node._parents:
            _accumulate(parent, back(gradient_of(node)))


def _accumulate(v: Var, gradient: Array) -> None:
    """Adds a gradient, summed over the axes along which v was broadcast."""
    extra = gradient.ndim - v.value.ndim
    gradient = gradient.sum(axis=tuple(range(extra))) if extra else gradient
    v.grad = gradient if v.grad is None else v.grad + gradient


def _inputs_first(results: list[Var]) -> list[Var]:
    """Everything that the results depend on, each after what it depends on; no recursion."""
    order: list[Var] = []
    seen: set[int] = set()
    stack = [(result, False) for result in results]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in node._parents)
    return order
