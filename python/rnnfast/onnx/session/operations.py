"""The operators that a session runs."""

from __future__ import annotations

from rnnfast.onnx.session.arithmetic import ARITHMETIC, REDUCTIONS
from rnnfast.onnx.session.block import Block
from rnnfast.onnx.session.call import Maker
from rnnfast.onnx.session.moves import MOVES, NUMBERED
from rnnfast.onnx.session.products import PRODUCTS
from rnnfast.onnx.session.quantized import QUANTISED
from rnnfast.onnx.session.recurrent import RECURRENT

_ALL = {**MOVES, **ARITHMETIC, **PRODUCTS, **QUANTISED, **RECURRENT}
OPERATIONS: dict[tuple[str, str], Maker] = {("", name): maker for name, maker in _ALL.items()}
"""The makers of operations, by the domain and the name of the operator."""
PASSING = ("Cast", "Dropout", "Identity")
"""Operators that return their input itself if they change nothing."""


def deciding(op_type: str, inputs: int) -> range:
    """Return the places of the inputs whose values decide the shape of an operator's result."""
    if op_type in ("ConstantOfShape", "Range"):
        return range(inputs)
    return range(1, inputs) if op_type in NUMBERED or op_type in REDUCTIONS else range(0)


def missing(block: Block) -> set[str]:
    """Return the operators of a graph and of its branches that a session cannot run."""
    found: set[str] = set()
    for node in block.nodes:
        if node.key == ("", "If"):
            found.update(*(missing(branch) for branch in node.branches.values()))
        elif node.key not in OPERATIONS or node.branches:
            found.add(".".join(filter(None, node.key)))
    return found
