"""The graph of what was computed, and the walk that takes gradients through it.

A `Node` stands for an operation or for a call of a layer. It knows where its inputs came from and
how gradients of its results become gradients of its inputs. It does not hold the results, so that
those live only as long as somebody needs them. A `Leaf` is where gradients end up.

The walk takes the nodes in the reverse of the order in which they were made. Each sum of gradients
is therefore made in an order that depends on the program alone, and has the same bits every time.
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
    "backward: expected a result whose gradient was not taken before, as that frees what the "
    "calls and operations have kept; got one that a `backward` has passed already. Compute it "
    "again, or take one gradient of the sum of the results"
)
_SIMPLE = (slice, int, np.integer, type(...))  # as indices, with None; they name nothing twice
_numbers = count()
_by_number = attrgetter("number")


class Parameter(Protocol):
    """What is used of a `rnnfast.Parameter`."""

    name: str
    value: Array
    grad: Array

    @property
    def requires_grad(self) -> bool:
        """Whether it is trained."""

    def tensor(self) -> Any:
        """A tensor whose gradient is added to `grad`."""

    def check_writable(self) -> None:
        """Raise a ValueError if the value is read-only."""


class Part:
    """The gradient of an array that is zero but for the elements at an index.

    Args:
        gradient: That of the elements.
        index: Where they are in the array.
        shape: Of the array.
        dtype: Of the array.
    """

    __slots__ = ("dtype", "gradient", "index", "shape")

    def __init__(
        self, gradient: Array, index: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.gradient, self.index, self.shape, self.dtype = gradient, index, shape, dtype

    def add_to(self, total: Array) -> None:
        """Add it to an array, with elements that the index names twice added twice."""
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        if all(item is None or isinstance(item, _SIMPLE) for item in index):
            total[index] += self.gradient
        else:
            np.add.at(total, index, self.gradient)


class Leaf:
    """A tensor's `grad`: an array that gradients are added to, or None before the first."""

    __slots__ = ("grad",)

    def __init__(self, grad: Array | None = None) -> None:
        self.grad = grad

    def add(self, _: int, gradient: Array | Part) -> None:
        """Add a gradient."""
        self.grad = _summed(self.grad, gradient, own=True)


class Node:
    """An operation, or a call of a layer.

    Args:
        inputs: Where the inputs that need a gradient came from: a node and which of its results it
            is, or a leaf.
        pullback: Makes gradients of the inputs of those of the results, of which some may be None.
            A text instead says why no gradient can be taken.
        results: How many results there are.
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
        self._own: tuple[int, ...] = ()  # sums that were made here, which may be written to

    def add(self, place: int, gradient: Array | Part) -> None:
        """Add to the gradient of one of the results."""
        total = self._gradients[place]
        if total is None and not isinstance(gradient, Part):
            self._gradients[place] = gradient  # which others may have, too
        else:
            self._gradients[place] = _summed(total, gradient, own=place in self._own)
            self._own += (place,)

    def pull(self) -> None:
        """Hand the gradients of the results on to the inputs, and free what was kept for that."""
        assert not isinstance(self.pullback, str)
        inputs, gradients = self.inputs, self.pullback(*self._gradients)
        self.end()
        for (source, place), gradient in zip(inputs, gradients):  # noqa: B905 (a short call)
            source.add(place, gradient)

    def end(self) -> None:
        """Free what was kept; to take a gradient is an error from now on."""
        self.inputs, self.pullback, self._gradients = (), _TAKEN, []


def differentiate(source: Node | Leaf, place: int, gradient: Array) -> None:
    """Add the gradients of a result to all leaves that it came from.

    Args:
        source: Where the result came from.
        place: Which of the results of `source` it is.
        gradient: Of the objective by the result, in its shape and dtype.

    Raises:
        RuntimeError: It came through something whose gradient was taken, or that kept nothing for
            it. Nothing is changed then.
    """
    nodes = _oldest_first(source)
    source.add(place, gradient)
    try:
        while nodes:
            nodes[-1].pull()
            nodes.pop()
    finally:
        for node in nodes:  # there are some after an error alone
            node.end()


def _oldest_first(source: Node | Leaf) -> list[Node]:
    found = [source] if isinstance(source, Node) else []
    seen = set(found)
    for node in found:  # which grows meanwhile
        if isinstance(node.pullback, str):
            raise RuntimeError(node.pullback)
        for origin, _ in node.inputs:
            if isinstance(origin, Node) and origin not in seen:
                seen.add(origin)
                found.append(origin)
    found.sort(key=_by_number)
    return found


def _summed(total: Array | None, gradient: Array | Part, own: bool) -> Array:
    """The sum of gradients, in the array of `total` if it is the caller's own."""
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
