"""Parameters of modules: an array with its gradient and its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.node import Leaf
from rnnfast.autograd.tensor import Tensor


class Freezing:
    """A flag for whether a parameter is trained, which the parameter shares under all its names.

    Attributes:
        requires_grad: The `requires_grad` of the parameter.
    """

    __slots__ = ("requires_grad",)

    def __init__(self) -> None:
        self.requires_grad = True


class Parameter(NDArrayOperatorsMixin):
    """A parameter of a module, whose value and gradient are arrays that are updated in place.

    You can use it like the array of its values: `layer.weight_hh_l0[...] = 0`, `p[:4] += 1`,
    `p *= 0.5`, `np.linalg.norm(p)`, `p.shape`, `len(p)`, `p.T`. Assigning to `value` or `grad`, or
    to the attribute of the module, copies the values into the existing array. To take gradients of
    your own computations with a parameter, use `p.tensor()`.

    Setting `requires_grad = False` freezes it: its gradient becomes zero, `backward` adds nothing
    to the gradient, and optimisers and clipping skip it. State dicts and files hold it as before.

    Args:
        name: Name of the parameter in state dicts and messages.
        value: Values in float32 or float64, in C order.
        grad: Gradient, an array of the same shape and dtype.

    Raises:
        TypeError: A value is not an array, or has a wrong dtype.
        ValueError: The shapes differ, or an array is not in C order or not aligned.
    """

    __slots__ = ("freezing", "grad", "name", "value")
    __hash__ = object.__hash__  # `==` compares values

    name: str
    value: RealArray
    grad: RealArray
    freezing: Freezing

    def __init__(self, name: str, value: RealArray, grad: RealArray) -> None:
        for label, array in ((f"{name}.value", value), (f"{name}.grad", grad)):
            if not hasattr(array, "flags"):
                raise TypeError(f"{label}: expected an array, got {type(array).__name__}")
            checks.real_dtype(f"{label}.dtype", array.dtype, backends.of(array))
            if not array.flags.c_contiguous:
                raise ValueError(f"{label}: expected C order, got strides {array.strides}")
            if not getattr(array.flags, "aligned", True):
                raise ValueError(f"{label}: expected an array that is aligned for {array.dtype}")
        if grad.dtype != value.dtype:
            raise TypeError(f"{name}.grad: expected {value.dtype}, like value, got {grad.dtype}")
        checks.shape(f"{name}.grad", grad, value.shape, "of value")
        self._set(name, value, grad, Freezing())

    def _set(self, name: str, value: RealArray, grad: RealArray, freezing: Freezing) -> None:
        given = {"name": name, "value": value, "grad": grad, "freezing": freezing}
        for attribute, what in given.items():
            object.__setattr__(self, attribute, what)

    def renamed(self, name: str) -> Parameter:
        """Return a parameter with the same arrays under another name."""
        if name == self.name:
            return self
        other = object.__new__(Parameter)  # skips `__init__`, as the arrays were checked before
        other._set(name, self.value, self.grad, self.freezing)
        return other

    def __setattr__(self, attribute: str, new: Any) -> None:
        if attribute == "name":
            object.__setattr__(self, attribute, new)
            return
        if attribute == "requires_grad":
            self.freezing.requires_grad = checks.boolean(f"{self.name}.requires_grad", new)
            if not new:
                self.grad.fill(0)
            return
        array = getattr(self, attribute)
        if new is not array:  # `p.value -= step` assigns the array itself
            label = self.name if attribute == "value" else f"{self.name}.{attribute}"
            values = checks.values_of(label, new, array)
            self.check_writable()
            array[...] = values

    def check_writable(self) -> None:
        """Raise a `ValueError` if the value is read-only, as in a layer in evaluation mode."""
        if not getattr(self.value.flags, "writeable", True):  # device arrays are always writable
            raise ValueError(
                f"{self.name}: expected an array to write into, got a read-only one. A layer in "
                "evaluation mode keeps a packed copy of its weights, which a change would make "
                "wrong; switch to training mode first, with `layer.train()`"
            )

    @property
    def requires_grad(self) -> bool:
        """Whether the parameter is trained, initially True; setting it to False freezes it."""
        return self.freezing.requires_grad

    if TYPE_CHECKING:  # `__setattr__` does this at run time

        @requires_grad.setter
        def requires_grad(self, trained: bool) -> None: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value and the gradient."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.value.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the value and the gradient."""
        return self.value.dtype

    @property
    def T(self) -> RealArray:  # noqa: N802 (NumPy's name)
        """The transpose, a view of the value."""
        transpose: RealArray = self.value.T
        return transpose

    def tensor(self) -> Tensor:
        """Return the value as a `Tensor`, through which gradients are added to `grad`.

        No gradients are taken through the tensor of a frozen parameter.

        Raises:
            TypeError: The parameter is not on the CPU.
        """
        if backends.of(self.value) is not backends.CPU:
            raise TypeError(
                f"{self.name}: expected a parameter on the CPU, as operations on tensors are "
                f"NumPy's, got one on device {backends.of(self.value).name!r}"
            )
        return Tensor(self.value, Leaf(self.grad) if self.requires_grad else None)

    def copy(self) -> RealArray:
        """Return a copy of the value as an array."""
        copied: RealArray = self.value.copy()
        return copied

    def sum(self, axis: Any = None) -> Any:
        """Return the sum of the value over all or some axes."""
        return self.value.sum(axis)

    def mean(self, axis: Any = None) -> Any:
        """Return the mean of the value over all or some axes."""
        return self.value.mean(axis)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Any:
        return self.value[index]

    def __setitem__(self, index: Any, new: Any) -> None:
        self.check_writable()
        owner = backends.of(self.value)
        self.value[index] = backends.array_of(self.name, _array(new), owner)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", ())
        for target in out:
            if isinstance(target, Parameter):
                target.check_writable()
        if out:
            options["out"] = tuple(map(_array, out))
        result = getattr(ufunc, method)(*map(_array, inputs), **options)
        return result if not out else out[0] if len(out) == 1 else out

    def __reduce__(self) -> tuple[type[Parameter], tuple[Any, ...], Freezing]:
        return Parameter, (self.name, self.value, self.grad), self.freezing

    def __setstate__(self, freezing: Freezing) -> None:
        object.__setattr__(self, "freezing", freezing)

    def __repr__(self) -> str:
        return f"Parameter({self.name}, shape={self.shape}, dtype={self.dtype})"


def _array(value: Any) -> Any:
    return value.value if isinstance(value, Parameter) else value
