"""The graph of recorded operations, and the backward pass through it.

A `Node` represents an operation or a call of a layer. It knows where its inputs came from and how
to compute their gradients from those of its results. It does not hold the results, so that these
are freed as soon as nobody needs them. A `Leaf` collects the gradient of a tensor or a parameter.

The backward pass visits the nodes in the reverse of the order in which they were made. The order of
each sum of gradients therefore depends only on the program, and sums have the same bits every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pullback: TypeAlias = "Callable[..., Sequence[Array | Part]]"

_TAKEN = (
    "backward: expected a result whose gradient has not been taken yet, as taking it frees the "
    "values that calls and operations keep; got one that an earlier `backward` has reached. "
    "Compute it again, or take one gradient of the sum of the results"
)
# Indices that, like None, never select an element twice.
_SIMPLE = (slice, int, np.integer, type(...))
_numbers = count()
_by_number = attrgetter("number")


class Parameter(Protocol):
    """The part of `rnnfast.Parameter` that this package uses, which it cannot import."""

    name: str
    value: Array
    grad: Array

    @property
    def requires_grad(self) -> bool:
        """Whether the parameter is trained."""

    def tensor(self) -> Any:
        """Return a tensor whose gradient is added to `grad`."""

    def check_writable(self) -> None:
        """Raise a `ValueError` if the value is read-only."""


class Part:
    """The gradient of an array that is zero except for the elements at an index.

    Args:
        gradient: Gradient of these elements.
        index: Index of the elements in the array.
        shape: Shape of the array.
        dtype: Dtype of the array.
    """

    __slots__ = ("dtype", "gradient", "index", "shape")

    def __init__(
        self, gradient: Array, index: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.gradient, self.index, self.shape, self.dtype = gradient, index, shape, dtype

    def add_to(self, total: Array) -> None:
        """Add the gradient to an array; elements that the index selects twice are added twice."""
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        if all(item is None or isinstance(item, _SIMPLE) for item in index):
            total[index] += self.gradient
        else:
            np.add.at(total, index, self.gradient)


class Leaf:
    """The holder of a tensor's `grad`, which is None until the first gradient is added."""

    __slots__ = ("grad",)

    def __init__(self, grad: Array | None = None) -> None:
        self.grad = grad

    def add(self, _: int, gradient: Array | Part) -> None:
        """Add a gradient."""
        self.grad = _summed(self.grad, gradient, own=True)


class Node:
    """An operation, or a call of a layer.

    Args:
        inputs: The source of each input that needs a gradient: a node with the index of the result,
            or a leaf.
        pullback: Function that computes the gradients of the inputs from those of the results, some
            of which may be None. A string instead explains why no gradient can be taken.
        results: Number of results.
    """

    __slots__ = ("_gradients", "_own", "inputs", "number", "pullback")

    def __init__(
        self,
        inputs: Sequence[tuple[Node | Leaf, int]],
        pullback: Pullback | str,
        results: int = 1,
    ) -> None:
        self.inputs, self.pullback = inputs, pullback
        self.number = next(_numbers)
        self._gradients: list[Array | None] = [None] * results
        self._own: tuple[int, ...] = ()  # indices of gradients that this node may write to

    def add(self, place: int, gradient: Array | Part) -> None:
        """Add to the gradient of one of the results."""
        total = self._gradients[place]
        if total is None and not isinstance(gradient, Part):
            self._gradients[place] = gradient  # other nodes may share it, so it is not our own
        else:
            self._gradients[place] = _summed(total, gradient, own=place in self._own)
            self._own += (place,)

    def pull(self) -> None:
        """Pass gradients on from the results to the inputs, and free the values kept for that."""
        assert not isinstance(self.pullback, str)
        inputs, gradients = self.inputs, self.pullback(*self._gradients)
        self.end()
        for (source, place), gradient in zip(inputs, gradients):  # noqa: B905 (a short call)
            source.add(place, gradient)

    def end(self) -> None:
        """Free the kept values; taking a gradient through this node raises an error from now on."""
        self.inputs, self.pullback, self._gradients = (), _TAKEN, []


def differentiate(source: Node | Leaf, place: int, gradient: Array) -> None:
    """Add the gradients of an objective to all leaves that a result was computed from.

    Args:
        source: Node or leaf that the result came from.
        place: Index of the result among those of `source`.
        gradient: Gradient of the objective with respect to the result, in its shape and dtype.

    Raises:
        RuntimeError: A node on the way was differentiated before, or kept no values for its
            gradient. Nothing is changed then.
    """
    nodes = _oldest_first(source)
    source.add(place, gradient)
    try:
        while nodes:
            nodes[-1].pull()
            nodes.pop()
    finally:
        for node in nodes:  # nodes are left only after an error
            node.end()


def _oldest_first(source: Node | Leaf) -> list[Node]:
    found = [source] if isinstance(source, Node) else []
    seen = set(found)
    for node in found:  # the list grows during this loop
        if isinstance(node.pullback, str):
            raise RuntimeError(node.pullback)
        for origin, _ in node.inputs:
            if isinstance(origin, Node) and origin not in seen:
                seen.add(origin)
                found.append(origin)
    found.sort(key=_by_number)
    return found


def _summed(total: Array | None, gradient: Array | Part, own: bool) -> Array:
    """Return the sum of gradients, which reuses the array of `total` if the caller owns it."""
    if isinstance(gradient, Part):
        if total is None:
            total = np.zeros(gradient.shape, gradient.dtype)
        elif not own:
            total = np.array(total)
        gradient.add_to(total)
        return total
    if total is None:
        return np.array(gradient)
    return np.add(total, gradient, out=total if own else np.empty_like(total))
