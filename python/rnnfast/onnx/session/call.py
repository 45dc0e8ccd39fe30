"""What an operation knows about its node before its first call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnnfast.onnx.session.block import Node

Array: TypeAlias = "NDArray[Any]"
Operation: TypeAlias = "Callable[..., Any]"
"""A function of a node's inputs, with None for absent ones; returns an array or a list."""
Maker: TypeAlias = "Callable[[Call], Operation]"
KERNEL_DTYPES = (np.float32, np.float64)
MOST_SHAPES = 64
"""For how many shapes something is kept; a model may see sequences of any length."""


def counted_axis(axis: int, rank: int) -> int:
    """Return an axis, which may be counted from the end, as its number from the start.

    Raises:
        ValueError: There is no such axis.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"expected axes in [{-rank}, {rank}), got {axis}")
    return axis % rank


@dataclass(frozen=True, eq=False)
class Call:
    """A node, and what is known about its inputs.

    Attributes:
        node: The node.
        known: Its inputs that are the same in every call; None for the others and absent ones.
        opset: The version of the operator set.
    """

    node: Node
    known: list[Array | None]
    opset: int

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the node."""
        return self.node.attributes

    def constant(self, place: int) -> Array | None:
        """Return an input if it is the same in every call."""
        return self.known[place] if place < len(self.known) else None

    def has(self, place: int) -> bool:
        """Return whether the node has an input at a place."""
        names = self.node.proto.input
        return place < len(names) and bool(names[place])


def of_arrays(function: Operation) -> Maker:
    """Return the maker of a function of arrays that takes attributes as keywords."""
    return lambda call: partial(function, **call.attributes) if call.attributes else function


class Shaped:
    """An operation on a node's first input, which is prepared for the shape of this input.

    Args:
        prepare: A function of a shape that returns the operation on arrays of this shape.
    """

    def __init__(self, prepare: Callable[[tuple[int, ...]], Operation]) -> None:
        self._prepare = prepare
        self._prepared: dict[tuple[int, ...], Operation] = {}

    def at(self, shape: tuple[int, ...]) -> Operation:
        """Return the operation for a shape."""
        operation = self._prepared.get(shape)
        if operation is None:
            if len(self._prepared) >= MOST_SHAPES:
                self._prepared.clear()
            operation = self._prepared[shape] = self._prepare(shape)
        return operation

    def __call__(self, x: Array, *_constants: Array | None) -> Any:
        """Return the result for an array of any shape."""
        return self.at(x.shape)(x)


def of_shapes(prepare: Callable[..., Operation]) -> Maker:
    """Return the maker of an operation that depends on the shape of the first input.

    Args:
        prepare: A function of that shape, of the other inputs as numbers or lists of numbers, and
            of the attributes as keywords, which returns the operation on the first input.
    """

    def make(call: Call) -> Operation:
        bound = partial(prepare, **call.attributes)
        others = range(1, len(call.node.proto.input))
        if any(call.has(k) and call.constant(k) is None for k in others):
            return lambda x, *rest: bound(x.shape, *map(_numbers, rest))(x)
        numbers = [_numbers(call.constant(k)) for k in others]
        return Shaped(lambda shape: bound(shape, *numbers))

    return make


def _numbers(value: Array | None) -> Any:
    return None if value is None else value.tolist()
