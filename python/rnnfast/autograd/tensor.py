"""Tensors: arrays that know how they were computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast.autograd.node import Array, Leaf, Node, Parameter, Part, differentiate

Operand: TypeAlias = "Tensor | Parameter | Array | float"
Axis: TypeAlias = int | tuple[int, ...] | None


@final
class Tensor:
    """An array that knows how it was computed, so that gradients can be taken through it.

    `rnnfast.tensor` makes a tensor from an array; layers, losses and operations return tensors when
    they are given tensors. `backward` takes the gradient of a result. The operators are
    `+ - * / ** @` with tensors, parameters, arrays and numbers on either side, unary `-`, `abs`,
    indexing, and the comparisons, which return plain arrays of bools. Shapes broadcast as in NumPy.
    Further functions are in `rnnfast.autograd`.

    Operations keep references to the arrays that they read, which must therefore not change until
    `backward`. Results are read-only for the same reason.

    Attributes:
        value: The array.
    """

    __slots__ = ("_place", "_source", "value")
    __array_ufunc__ = None  # makes `array + tensor` call `Tensor.__radd__`
    __hash__ = object.__hash__  # `==` compares values

    def __init__(self, value: Array, source: Node | Leaf | None = None, place: int = 0) -> None:
        self.value = value
        self._source, self._place = source, place

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are taken with respect to this tensor or to one that it came from."""
        return self._source is not None

    @property
    def grad(self) -> Array | None:
        """The sum of the gradients that `backward` has taken with respect to this tensor.

        It is None before the first gradient of a tensor made with `requires_grad=True`, and always
        None for a computed tensor. The tensor of a parameter has the parameter's `grad`.
        """
        return self._source.grad if isinstance(self._source, Leaf) else None

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add the gradients of this tensor to the `grad` of everything that it was computed from.

        These are the parameters of layers, parameters that were used as tensors, and tensors with
        `requires_grad=True`. The values that the calls and operations have kept are freed, so that
        no second gradient can be taken through them.

        Args:
            gradient: Gradient of the objective with respect to this tensor, in its shape; None for
                1 if the tensor, a single number, is itself the objective.

        Raises:
            RuntimeError: Nothing was recorded; or a gradient was taken before; or a layer on the
                way was in evaluation mode; or an array that a layer reads again has changed.
            ValueError: The shape is wrong.
            TypeError: The gradient does not hold real numbers.
        """
        if self._source is None:
            raise RuntimeError(
                "backward: expected a tensor computed from a parameter, a tensor with "
                "requires_grad=True or a layer in training mode, got one computed from none of "
                "these"
            )
        if gradient is None:
            if self.value.size != 1:
                raise ValueError(
                    "gradient: expected the gradient of the objective with respect to this tensor, "
                    f"of shape {self.shape}, got None, which stands for 1 if the tensor is a "
                    "single number; call `backward` of a loss instead, such as `y.sum()`"
                )
            array = np.ones_like(self.value)
        else:
            dtype, meaning = self.value.dtype, "of the tensor"
            array = checks.shaped_array(
                "gradient", gradient, dtype, self.shape, meaning, " (the tensor's)"
            )
        differentiate(self._source, self._place, array)

    def detach(self) -> Tensor:
        """Return a tensor of the same array through which no gradient passes."""
        return Tensor(self.value)

    def item(self) -> float:
        """Return the value of a tensor with one element as a Python number."""
        return self.value.item()  # type: ignore[no-any-return]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self.value.dtype

    def __add__(self, other: Operand) -> Tensor:
        a, b = self, operand(other)
        return computed(a.value + value_of(b), (a, lambda g: g), (b, lambda g: g))

    def __sub__(self, other: Operand) -> Tensor:
        return _difference(self, operand(other))

    def __rsub__(self, other: Operand) -> Tensor:
        return _difference(operand(other), self)

    def __mul__(self, other: Operand) -> Tensor:
        second = operand(other)
        a, b = self.value, value_of(second)
        return computed(a * b, (self, lambda g: g * b), (second, lambda g: g * a))

    def __truediv__(self, other: Operand) -> Tensor:
        return _quotient(self, operand(other))

    def __rtruediv__(self, other: Operand) -> Tensor:
        return _quotient(operand(other), self)

    def __pow__(self, other: Operand) -> Tensor:
        return _power(self, operand(other))

    def __rpow__(self, other: Operand) -> Tensor:
        return _power(operand(other), self)

    def __matmul__(self, other: Operand) -> Tensor:
        return _product(self, operand(other))

    def __rmatmul__(self, other: Operand) -> Tensor:
        return _product(operand(other), self)

    def __neg__(self) -> Tensor:
        return computed(-self.value, (self, lambda g: -g))

    def __abs__(self) -> Tensor:
        x = self.value
        return computed(np.abs(x), (self, lambda g: g * np.sign(x)))

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Operand) -> Any:
        return self.value < value_of(operand(other))

    def __le__(self, other: Operand) -> Any:
        return self.value <= value_of(operand(other))

    def __gt__(self, other: Operand) -> Any:
        return self.value > value_of(operand(other))

    def __ge__(self, other: Operand) -> Any:
        return self.value >= value_of(operand(other))

    def __eq__(self, other: Operand) -> Any:  # type: ignore[override]
        return self.value == value_of(operand(other))

    def __ne__(self, other: Operand) -> Any:  # type: ignore[override]
        return self.value != value_of(operand(other))

    def __getitem__(self, index: Any) -> Tensor:
        shape, dtype = self.value.shape, self.value.dtype
        return computed(self.value[index], (self, lambda g: Part(g, index, shape, dtype)))

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    if not TYPE_CHECKING:  # hidden, so that type checkers reject a tensor in place of an array

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            if self.requires_grad:
                raise TypeError(
                    "expected an array, got a Tensor, whose gradient would be lost; pass its "
                    "`value` if you need no gradient. Functions of tensors are in "
                    "`rnnfast.autograd`. Layers and losses take a Tensor as their first argument; "
                    "if other arguments are tensors, the first must be one, too: "
                    "`rnnfast.tensor(x)`"
                )
            return np.array(self.value, dtype=dtype, copy=copy)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum over all or some axes."""
        y, shape = self.value.sum(axis=axis, keepdims=keepdims), self.shape
        return computed(y, (self, lambda g: _spread(g, shape, axis, keepdims)))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over all or some axes."""
        y, shape = self.value.mean(axis=axis, keepdims=keepdims), self.shape
        share = y.size / max(self.value.size, 1)
        return computed(y, (self, lambda g: _spread(g * share, shape, axis, keepdims)))

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the maximum over some axes or all; equal maxima share the gradient evenly."""
        x = self.value
        y = x.max(axis=axis, keepdims=True)

        def back(g: Any) -> Any:
            largest = x == y
            share = largest / largest.sum(axis=axis, keepdims=True)
            return _spread(g, x.shape, axis, keepdims) * share

        return computed(y if keepdims else y.squeeze(axis), (self, back))

    def reshape(self, *shape: Any) -> Tensor:
        """Return the elements in another shape, given as integers or as a tuple."""
        old = self.shape
        return computed(self.value.reshape(*shape), (self, lambda g: g.reshape(old)))

    def transpose(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in the order given, or reversed if none is given."""
        y = self.value.transpose(*axes)
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        inverse = np.argsort([axis % y.ndim for axis in order]) if order else None
        return computed(y, (self, lambda g: g.transpose(inverse)))

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Return the tensor with two axes exchanged."""
        y = self.value.swapaxes(axis1, axis2)
        return computed(y, (self, lambda g: g.swapaxes(axis1, axis2)))

    @property
    def T(self) -> Tensor:  # noqa: N802 (NumPy's name)
        """The tensor with its axes in reverse order."""
        return self.transpose()

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        shown = np.array2string(self.value, separator=", ", prefix="Tensor(")
        return f"Tensor({shown}, dtype={self.dtype}{grad})"


def tensor(value: ArrayLike | Parameter | Tensor, requires_grad: bool = False) -> Tensor:
    """Make a tensor from an array or a parameter.

    Args:
        value: Real numbers, integers (indices for an `Embedding`, or in place of one-hot rows) or
            bools. An array is not copied. Gradients of a parameter are added to its own `grad`. A
            tensor is returned as it is.
        requires_grad: Whether `backward` sets the tensor's `grad`.

    Raises:
        TypeError: The elements are not numbers, or not real numbers although a gradient is
            required; or the array has a mask, or is not on the CPU.
        ValueError: `requires_grad` is True for a tensor that does not require a gradient.
    """
    given: Any = value
    if not isinstance(given, np.ndarray) and hasattr(given, "tensor"):
        given = given.tensor()  # a parameter
    if type(given) is Tensor:
        if requires_grad and not given.requires_grad:
            raise ValueError(
                "requires_grad: expected False for a tensor, as an existing tensor keeps its "
                "setting, got True"
            )
        return given
    if backends.of(given) is not backends.CPU:
        raise TypeError(
            "value: expected an array on the CPU, as operations on tensors are NumPy's, got one on "
            f"device {backends.of(given).name!r}; there, take gradients with `layer.call` and "
            "`call.backward`"
        )
    array: Array = backends.given("value", given)
    if array.dtype.kind not in ("f" if requires_grad else "fiub"):
        expected = "real numbers, as a gradient is required" if requires_grad else "numbers"
        raise TypeError(f"value: expected {expected}, got dtype {array.dtype}")
    return Tensor(array, Leaf() if requires_grad else None)


def operand(value: Operand) -> Tensor | Array | float:
    """Return an operand of an operation, with a parameter converted to a tensor.

    Raises:
        TypeError: The value is not a tensor, a parameter, a number or an array of numbers.
    """
    if type(value) is Tensor:
        return value
    if isinstance(value, Real):
        return value  # type: ignore[return-value]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub":
        backends.check_unmasked("operand", value)
        return value
    if hasattr(value, "tensor"):
        return value.tensor()  # type: ignore[no-any-return]  # a parameter
    of = f" of {value.dtype}" if hasattr(value, "dtype") else ""
    raise TypeError(
        "operand: expected a Tensor, a Parameter, a number, or an array of numbers on the CPU, got "
        f"{type(value).__name__}{of}"
    )


def value_of(value: Tensor | Array | float) -> Array:
    """Return the plain value of an operand."""
    return value.value if type(value) is Tensor else value  # type: ignore[return-value]


def computed(
    value: Any, *inputs: tuple[Tensor | Array | float, Callable[[Array], Array | Part]]
) -> Tensor:
    """Make the tensor that an operation returns.

    Args:
        value: Result of the operation.
        inputs: Each operand, with a function that computes its gradient from that of the result.
            That gradient may have the shape and dtype of the result if the operand was broadcast or
            promoted.
    """
    array = np.asarray(value)
    recorded = [(x, back) for x, back in inputs if type(x) is Tensor and x._source is not None]
    if not recorded:
        return Tensor(array)
    array.flags.writeable = False
    backs = [(back, x.value.shape, x.value.dtype) for x, back in recorded]
    node = Node(
        [(x._source, x._place) for x, _ in recorded if x._source is not None],
        lambda g: [_fitted(back(g), shape, dtype) for back, shape, dtype in backs],
    )
    return Tensor(array, node)


def _fitted(gradient: Array | Part, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | Part:
    """Return a gradient in an operand's shape and dtype, summed over the axes of broadcasting."""
    if isinstance(gradient, Part):
        return gradient
    if gradient.shape != shape:
        extra = gradient.ndim - len(shape)
        short = (i for i, n in enumerate(shape, extra) if n != gradient.shape[i])
        summed: Array = gradient.sum(axis=(*range(extra), *short), keepdims=True)
        gradient = summed.reshape(shape)
    return gradient.astype(dtype, copy=False)


def _spread(gradient: Array, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Array:
    """Broadcast the gradient of a reduction's result to the shape of the reduced array."""
    if axis is not None and not keepdims:
        gradient = np.expand_dims(gradient, axis)
    return np.broadcast_to(gradient, shape)


def _difference(a: Tensor | Array | float, b: Tensor | Array | float) -> Tensor:
    return computed(value_of(a) - value_of(b), (a, lambda g: g), (b, lambda g: -g))


def _quotient(first: Tensor | Array | float, second: Tensor | Array | float) -> Tensor:
    a, b = value_of(first), value_of(second)
    y = a / b
    return computed(y, (first, lambda g: g / b), (second, lambda g: -g * y / b))


def _power(first: Tensor | Array | float, second: Tensor | Array | float) -> Tensor:
    a, b = value_of(first), value_of(second)
    y = a**b

    def of_base(g: Any) -> Any:  # the derivative of a^0 is 0 even at a = 0
        less = (b - 1 if b else 0) if isinstance(b, Real) else np.where(b == 0, 0, b - 1)
        return g * b * a**less

    def of_exponent(g: Any) -> Any:
        return g * y * np.log(np.where(a == 0, 1, a))  # 0 at a = 0, as in PyTorch

    return computed(y, (first, of_base), (second, of_exponent))


def _product(first: Tensor | Array | float, second: Tensor | Array | float) -> Tensor:
    a, b = value_of(first), value_of(second)
    y = a @ b
    rows = a if a.ndim > 1 else a[None, :]
    columns = b if b.ndim > 1 else b[:, None]
    batch = y.shape[: y.ndim - (a.ndim > 1) - (b.ndim > 1)]
    shape = (*batch, rows.shape[-2], columns.shape[-1])

    def of_first(g: Any) -> Any:
        da = g.reshape(shape) @ columns.swapaxes(-1, -2)
        return da if a.ndim > 1 else da[..., 0, :]

    def of_second(g: Any) -> Any:
        g = g.reshape(shape)
        if columns.ndim == 2:  # one product, instead of one for each matrix of `a`
            db = rows.reshape(-1, rows.shape[-1]).T @ g.reshape(-1, shape[-1])
        else:
            db = rows.swapaxes(-1, -2) @ g
        return db if b.ndim > 1 else db[..., 0]

    return computed(y, (first, of_first), (second, of_second))
