"""Find which operators of a model read the outputs of others, as layers of one network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnfast.onnx.graph import Found
from rnnfast.onnx.shapes import OfShapes, Shapes


class Origin(NamedTuple):
    """The place of an operator in its model.

    Attributes:
        model: An object that all operators of the model share.
        place: "LSTM node 'name'", with the branches that contain it.
        position: Its number among the operators.
        follows: The number of the operator whose outputs, with directions concatenated but
            otherwise unchanged, are its X; None if there is no such operator.
        x: A description of X.
    """

    model: object
    place: str
    position: int
    follows: int | None
    x: str


def origins(found: Sequence[Found], shapes: Shapes) -> list[Origin]:
    """Return the place of each operator of a model."""
    model = object()
    result = []
    for k, one in enumerate(found):
        place = ", in ".join([one.label, *one.branches])
        x = one.node.input[0]
        sources = sorted(one.values.open_sources(x))
        follows = next(
            (i for i, other in enumerate(found) if _gives(other, one, sources, shapes)), None
        )
        words = " and ".join(map(one.values.describe, sources)) or "constants"
        direct = sources == [x]
        result.append(
            Origin(
                model, place, k, follows, words if direct else f"what nodes compute from {words}"
            )
        )
    return result


def check_stackable(origins: Sequence[Origin | None]) -> None:
    """Check that each operator reads the output of the previous one, if both are from one model.

    Raises:
        ValueError: One reads something else; the message says what.
    """
    for k in range(1, len(origins)):
        before, this = origins[k - 1], origins[k]
        if before is None or this is None or this.model is not before.model:
            continue
        if this.follows != before.position:
            raise ValueError(
                f"nodes[{k}]: expected an operator that reads the unchanged output of "
                f"nodes[{k - 1}], as both are from the same model, got {this.place}, which reads "
                f"{this.x}; nodes[{k - 1}] is {before.place}. Build a layer from each, or choose "
                "operators of the same branch"
            )


def _gives(other: Found, one: Found, sources: list[str], shapes: Shapes) -> bool:
    """Return whether the output of `other` is the X of `one`, by a test with distinct numbers."""
    y = next(iter(other.node.output), "")
    R = other.inputs.constants.get("R")
    if sources != [y] or one.values.makers.get(y) is not other.node or R is None:
        return False
    for seq_len, batch in _sizes(other, y, shapes):
        shape = seq_len, R.shape[0], batch, R.shape[-1]
        if math.prod(shape) > one.values.limit:
            continue
        numbers = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
        numbers -= numbers.size // 2  # negative numbers, too, to notice a Relu between the two
        expected = numbers.swapaxes(1, 2).reshape(seq_len, batch, -1)
        if _layout(other):
            numbers = numbers.transpose(2, 0, 1, 3)
        if _layout(one):
            expected = expected.swapaxes(0, 1)
        try:
            x = OfShapes(one.values, one.node.input[0], y, shapes).evaluate(numbers)
        except ValueError:
            continue  # the model may support only one size of time and batch
        if np.array_equal(x, expected):
            return True
    return False


def _sizes(found: Found, y: str, shapes: Shapes) -> Iterator[tuple[int, int]]:
    """Yield sequence lengths and batches for tests: 2 and 3, then what the model says of Y."""
    yield 2, 3
    dims = shapes.of(y)
    if dims is not None and len(dims) == 4:
        seq_len, batch = (dims[1], dims[0]) if _layout(found) else (dims[0], dims[2])
        yield seq_len if isinstance(seq_len, int) else 2, batch if isinstance(batch, int) else 3


def _layout(found: Found) -> bool:
    return bool(found.attributes.get("layout", 0) == 1)
