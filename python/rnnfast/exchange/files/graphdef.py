"""Frozen graphs of TensorFlow 1 (`.pb`), whose variables are constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.files import elements, wire
from rnnfast.exchange.files.content import Budget, Content
from rnnfast.exchange.files.wire import Message

_TYPES = {1: "float32", 2: "float64", 14: "bfloat16", 19: "float16"}  # of tensors that are weights
_MOST_AXES = 8


def read(data: bytes) -> Content:
    """Return the constants of a graph by their names, with dots between the levels."""
    budget = Budget(len(data))
    arrays = {}
    for node in wire.messages(wire.parsed(memoryview(data)), 1):
        if wire.text(node, 2) == "Const":
            attributes = {wire.text(one, 1): wire.message(one, 2) for one in wire.messages(node, 5)}
            array = _array(wire.message(attributes.get("value", {}), 8), budget)
            if array is not None:
                arrays[wire.text(node, 1).replace("/", ".")] = array
    if not arrays:
        raise ValueError(
            "expected a graph with constants; a SavedModel has its variables elsewhere"
        )
    return Content(arrays)


def _array(tensor: Message, budget: Budget) -> NDArray[Any] | None:
    """Return the elements of a tensor, or None if it is not one of weights.

    Weights are written as bytes, or as numbers of which the last one is repeated.
    """
    dtype = _TYPES.get(wire.integer(tensor, 1))
    shape = tuple(wire.integer(axis, 1) for axis in wire.messages(wire.message(tensor, 2), 2))
    if dtype is None or not 0 < len(shape) <= _MOST_AXES:
        return None
    if 4 in tensor:
        return elements.array(dtype, tensor[4][-1], shape)
    numbers = wire.floats(tensor, 5)
    missing = math.prod(shape) - numbers.size
    if numbers.size == 0 or missing < 0:
        return None
    budget.take("a constant", shape, numbers.itemsize)
    return np.pad(numbers, (0, missing), mode="edge").reshape(shape)
