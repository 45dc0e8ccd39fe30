"""Find where the numbers in a value come from, through nodes that only move them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from rnnfast.onnx.operators import DOMAINS
from rnnfast.onnx.values import Makers, array_of, describe, with_makers

ZERO, INPUT = "zeros", "an input of the graph"
_MOVES = (
    *("Identity", "Cast", "CastLike", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"),
    *("Slice", "Gather", "Split", "Expand", "Tile", "Dropout"),
)


def leaves_of(name: str, makers: Makers) -> set[str]:
    """Return the origins of the numbers in a value: `ZERO`, `INPUT`, or a node, in words.

    Nodes that only move numbers are followed to their inputs, and an `If` into all its branches.
    Shapes do not matter.
    """
    leaves: set[str] = set()
    seen: set[tuple[str, int]] = set()
    left = [(name, makers)]
    while left:
        name, makers = left.pop()
        maker = makers.get(name)
        if (name, id(maker)) in seen:
            continue
        seen.add((name, id(maker)))
        if maker is None:
            leaves.add(INPUT)
        elif isinstance(maker, onnx.TensorProto):
            leaves.add(_leaf(maker, maker.name))
        elif not isinstance(maker, onnx.NodeProto) or maker.domain not in DOMAINS:
            leaves.add(f"the value {name!r}")
        elif maker.op_type in _MOVES:
            left += [(used, makers) for used in maker.input[:1]]
        elif maker.op_type == "Concat":
            left += [(used, makers) for used in maker.input]
        elif maker.op_type == "If":
            branches = [a.g for a in maker.attribute if a.HasField("g")]
            place = list(maker.output).index(name)
            left += [
                (branch.output[place].name, with_makers(makers, branch))
                for branch in branches
                if place < len(branch.output)
            ]
        elif maker.op_type in ("Constant", "ConstantOfShape"):
            leaves.add(_leaf(_tensor(maker), describe(maker)))
        else:
            leaves.add(describe(maker))
    return leaves


def _tensor(node: Any) -> Any:
    """Return the tensor of a Constant or ConstantOfShape; None if another attribute defines it."""
    tensors = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
    if tensors:
        return tensors[0]
    default = node.op_type == "ConstantOfShape" and not node.attribute
    return onnx.numpy_helper.from_array(np.zeros(1, np.float32)) if default else None


def _leaf(tensor: Any, label: str) -> str:
    if tensor is None:
        return label
    values = array_of(tensor)
    return ZERO if values.dtype.kind != "O" and not values.any() else label
