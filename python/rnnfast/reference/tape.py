"""Reverse-mode differentiation of NumPy expressions: the operations that recurrent cells need.

A `Var` is an array and a record of how it was computed. `backward` follows these records from the
results to the inputs and adds up gradients. The reference of a cell is therefore only its forward
equations, and its gradients share nothing with hand-written ones. The tape computes in the real
type of its arrays.

Cells are written with the operators of `Var` and the functions of `__all__`. The functions accept
other kinds of values that are registered with them (`functools.singledispatch`), so the same
equations also run on PyTorch tensors and on the symbols that trace a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import singledispatch, wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable

__all__ = [
    "exp",
    "hard_sigmoid",
    "log",
    "maximum",
    "minimum",
    "normalize",
    "relu",
    "sigmoid",
    "softplus",
    "tanh",
    "where",
]

Array: TypeAlias = NDArray[np.floating[Any]]
Condition: TypeAlias = NDArray[np.bool_]
Pullback: TypeAlias = "Callable[[Array], Array]"
Activation: TypeAlias = "Callable[[Var], Var]"


class Var:
    """An array of the expression graph.

    Operators: `+ - * /` with values and numbers on either side, unary `-`, `abs(v)`, whose
    derivative at 0 is 0, `v ** c` with a number c, and the comparisons `< <= > >=`, whose results
    are conditions for `where`.

    Attributes:
        value: The array.
        grad: Gradient of the results with respect to the array, in its shape; None before
            `backward`, and afterwards if no result depends on the array.
    """

    __array_ufunc__ = None  # makes ndarray + Var call Var.__radd__, not NumPy's loop over objects
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

    def __truediv__(self, other: Var | Array | float) -> Var:
        b = value_of(other)
        y = self.value / b
        return Var(y, (self, lambda g: g / b), (other, lambda g: -g * y / b))

    def __rtruediv__(self, other: Array | float) -> Var:
        y = other / self.value
        return Var(y, (self, lambda g: -g * y / self.value))

    def __matmul__(self, other: Var) -> Var:
        a, b = self.value, other.value
        return Var(a @ b, (self, lambda g: g @ b.T), (other, lambda g: a.T @ g))

    def __neg__(self) -> Var:
        return Var(-self.value, (self, lambda g: -g))

    def __abs__(self) -> Var:
        return Var(np.abs(self.value), (self, lambda g: g * np.sign(self.value)))

    def __pow__(self, exponent: float) -> Var:
        if not isinstance(exponent, (int, float)):
            return NotImplemented
        x = self.value
        back = lambda g: g * exponent * x ** (exponent - 1) if exponent else 0 * g  # noqa: E731
        return Var(x**exponent, (self, back))

    def __lt__(self, other: Var | Array | float) -> Condition:
        return np.less(self.value, value_of(other))

    def __le__(self, other: Var | Array | float) -> Condition:
        return np.less_equal(self.value, value_of(other))

    def __gt__(self, other: Var | Array | float) -> Condition:
        return np.greater(self.value, value_of(other))

    def __ge__(self, other: Var | Array | float) -> Condition:
        return np.greater_equal(self.value, value_of(other))

    __radd__, __rmul__ = __add__, __mul__


def value_of(v: Var | Array | float) -> Array | float:
    """Return the plain value of a Var or of a constant."""
    return v.value if isinstance(v, Var) else v


def gradient_of(v: Var) -> Array:
    """Return the gradient of v after `backward`: zeros if no result depends on it."""
    return np.zeros_like(v.value) if v.grad is None else v.grad


def _open(kind: type, what: str) -> Callable[[Callable[..., Var]], _SingleDispatchCallable[Var]]:
    """Return a decorator for functions that dispatch on the kind of their first argument.

    The decorated function handles `kind`; other modules register their own kinds.
    """

    def decorate(function: Callable[..., Var]) -> _SingleDispatchCallable[Var]:
        @singledispatch
        @wraps(function)
        def refuse(first: object, *_: object, **__: object) -> Var:
            raise TypeError(
                f"{function.__name__}: expected {what} as first argument, got {first!r} of type "
                f"{type(first).__name__}"
            )

        refuse.register(kind, function)
        return refuse

    return decorate


_of_value = _open(Var, "a value of the step")
_of_condition = _open(np.ndarray, "a comparison (<, <=, >, >=) of values of the step")


@_of_value
def sigmoid(v: Var) -> Var:
    """Return 1 / (1 + exp(-v)), written with tanh so that nothing overflows."""
    y = 0.5 * np.tanh(0.5 * v.value) + 0.5
    return Var(y, (v, lambda g: g * y * (1 - y)))


@_of_value
def tanh(v: Var) -> Var:
    """Return the hyperbolic tangent of v."""
    y = np.tanh(v.value)
    return Var(y, (v, lambda g: g * (1 - y * y)))


@_of_value
def relu(v: Var) -> Var:
    """Return max(0, v), with derivative 0 at 0; NaN stays NaN."""
    return where(v.value <= 0, 0.0, v)


@_of_value
def exp(v: Var) -> Var:
    """Return the exponential of v."""
    y = np.exp(v.value)
    return Var(y, (v, lambda g: g * y))


@_of_value
def log(v: Var) -> Var:
    """Return the natural logarithm of v."""
    return Var(np.log(v.value), (v, lambda g: g / v.value))


@_of_value
def softplus(v: Var) -> Var:
    """Return log(1 + exp(v)), written so that nothing overflows."""
    y = np.maximum(v.value, 0) + np.log1p(np.exp(-np.abs(v.value)))
    slope = sigmoid(v).value
    return Var(y, (v, lambda g: g * slope))


@_of_value
def maximum(a: Var, b: Var | float) -> Var:
    """Return the larger of a and b elementwise; if they are equal, a takes the gradient.

    NaN stays NaN.
    """
    return where((a >= b) | np.isnan(a.value), a, b)


@_of_value
def minimum(a: Var, b: Var | float) -> Var:
    """Return the smaller of a and b elementwise; if they are equal, a takes the gradient.

    NaN stays NaN.
    """
    return where((a <= b) | np.isnan(a.value), a, b)


def hard_sigmoid(v: Var) -> Var:
    """Return clip(0.2 v + 0.5, 0, 1), as in Keras 2; the derivative at both ends is 0.2, too."""
    return minimum(maximum(0.2 * v + 0.5, 0.0), 1.0)


@_of_value
def normalize(v: Var, eps: float = 1e-5) -> Var:
    """Normalise the units of each row: return (v - mean) / sqrt(variance + eps).

    The mean and the biased variance are taken over the last axis, as in
    `torch.nn.functional.layer_norm`.
    """
    centred = v.value - v.value.mean(axis=-1, keepdims=True)
    scale = ((centred * centred).mean(axis=-1, keepdims=True) + eps) ** -0.5
    y = centred * scale

    def back(g: Array) -> Array:
        along = (g * y).mean(axis=-1, keepdims=True)
        dv: Array = scale * (g - g.mean(axis=-1, keepdims=True) - y * along)
        return dv

    return Var(y, (v, back))


@_of_condition
def where(condition: Condition, a: Var | float, b: Var | float) -> Var:
    """Return elements of a where the condition holds, and of b elsewhere.

    Args:
        condition: The result of a comparison, which is broadcast to the shape of a and b.
        a: A value or a number.
        b: A value or a number; at least one of a and b must be a value.
    """
    if not (isinstance(a, Var) or isinstance(b, Var)):
        raise TypeError(f"where: expected a or b to be a value of the step, got {a!r} and {b!r}")
    return Var(
        np.where(condition, value_of(a), value_of(b)),
        (a, lambda g: np.where(condition, g, 0)),
        (b, lambda g: np.where(condition, 0, g)),
    )


def concatenate(parts: list[Var]) -> Var:
    """Concatenate parts along the last axis."""
    ends = np.cumsum([part.value.shape[-1] for part in parts])
    spans = [slice(e - part.value.shape[-1], e) for part, e in zip(parts, ends, strict=True)]
    return Var(
        np.concatenate([part.value for part in parts], axis=-1),
        *[(part, lambda g, s=s: g[..., s]) for part, s in zip(parts, spans, strict=True)],
    )


def backward(results: Iterable[tuple[Var, Array]]) -> None:
    """Set `grad` of every Var that the results depend on.

    Args:
        results: Pairs of a result and the gradient of the objective with respect to it, in its
            shape. If a Var occurs several times, its gradients add up.
    """
    results = list(results)
    for result, gradient in results:
        _accumulate(result, gradient)
    for node in reversed(_inputs_first([result for result, _ in results])):
        for parent, back in node._parents:
            _accumulate(parent, back(gradient_of(node)))


def _accumulate(v: Var, gradient: Array) -> None:
    """Add a gradient, summed over the axes along which v was broadcast."""
    extra = gradient.ndim - v.value.ndim
    gradient = gradient.sum(axis=tuple(range(extra))) if extra else gradient
    v.grad = gradient if v.grad is None else v.grad + gradient


def _inputs_first(results: list[Var]) -> list[Var]:
    """Return every Var that the results depend on in topological order, without recursion."""
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
