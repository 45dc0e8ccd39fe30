"""Selection of instructions: each computes one node of a graph, or several at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rnnfast.traced.graph import POINTWISE, Graph, Node

Uses = Callable[[Node], bool]
"""Whether a node is used once in the program and written nowhere, so that it may be part of an
instruction."""


class Operation(NamedTuple):
    """The computation of a node: an operation of the engine, and its operands."""

    name: str
    operands: tuple[Node, ...]


_SAME_NAME = POINTWISE.keys() - {"power"}


def plain(graph: Graph, node: Node) -> Operation:
    """Return the operation that computes a single node from its inputs."""
    if node.op == "power":
        assert isinstance(node.data, float)
        node = _lowered(graph, node.inputs[0], node.data)
    assert node.op in _SAME_NAME, f"{node} has no place, and no instruction computes it"
    return Operation(node.op, node.inputs)


def fused(graph: Graph, node: Node, once: Uses) -> Operation:
    """Return the operation that computes a node together with inputs that nothing else uses.

    Products are fused into sums as in compiled cells (`Fusible` in cpu/vec.h): of two products the
    second is, so the results are bitwise the same.
    """
    found = _FUSED[node.op](graph, node, once) if node.op in _FUSED else None
    return found or plain(graph, node)


def _add(_graph: Graph, node: Node, once: Uses) -> Operation | None:
    a, b = node.inputs
    if b.op == "mul" and once(b):
        return Operation("fma", (*b.inputs, a))
    if a.op == "mul" and once(a):
        return Operation("fma", (*a.inputs, b))
    return None


def _sub(_graph: Graph, node: Node, once: Uses) -> Operation | None:
    a, b = node.inputs
    if b.op == "mul" and once(b):
        return Operation("fnma", (*b.inputs, a))
    if a.op == "mul" and once(a):
        return Operation("fms", (*a.inputs, b))
    return None


def _neg(graph: Graph, node: Node, once: Uses) -> Operation | None:
    (a,) = node.inputs
    if a.op == "mul" and once(a):
        return Operation("fnma", (*a.inputs, graph.const(0)))
    return None


def _mul(_graph: Graph, node: Node, once: Uses) -> Operation | None:
    """Fuse the derivatives of sigmoid, a * (b * (1 - b)), and of tanh, a * (1 - b * b)."""
    for a, slope in (node.inputs, node.inputs[::-1]):
        if _is_one_less(slope) and slope.inputs[1].op == "mul":
            square = slope.inputs[1]
            if square.inputs[0] is square.inputs[1]:
                return Operation("dtanh", (a, square.inputs[0]))
        if slope.op == "mul" and once(slope):
            b, rest = slope.inputs
            if _is_one_less(rest) and rest.inputs[1] is b:
                return Operation("dsigmoid", (a, b))
    return None


def _is_one_less(node: Node) -> bool:
    """Return whether a node has the form 1 - v."""
    return node.op == "sub" and node.inputs[0].constant == 1


def _select(_graph: Graph, node: Node, once: Uses) -> Operation | None:
    condition, a, b = node.inputs
    if condition.op == "greater" and once(condition) and condition.inputs[1].constant == 0:
        condition = condition.inputs[0]
    if b.constant == 0:
        return Operation("drelu", (a, condition))
    return Operation("select", (condition, a, b))


_FUSED: dict[str, Callable[[Graph, Node, Uses], Operation | None]] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "select": _select,
}


def _lowered(graph: Graph, a: Node, exponent: float) -> Node:
    """Express a power by operations of the engine: products and square roots, or exp and log."""
    if exponent < 0:
        return graph.div(graph.const(1), _lowered(graph, a, -exponent))
    whole = int(exponent)
    if exponent - whole not in (0, 0.5):
        return graph.apply("exp", graph.mul(graph.const(exponent), graph.apply("log", a)))
    product = graph.apply("sqrt", a) if exponent != whole else None
    square = a
    while whole:
        if whole % 2:
            product = square if product is None else graph.mul(product, square)
        whole //= 2
        if whole:
            square = graph.mul(square, square)
    assert product is not None
    return product
