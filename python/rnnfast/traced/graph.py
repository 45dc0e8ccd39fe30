"""Expressions of a cell as a graph: each subexpression is one node, and trivial ones are folded.

A graph only grows. Nodes are numbered in the order of their creation, so inputs come before the
nodes that use them. Everything derived from a graph follows these numbers, so the same equations
always give the same programs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

Data: TypeAlias = "int | float | None"
"""What a node has besides its inputs: the index of an item, a constant, an exponent or an eps."""

INPUTS = ("x", "input", "mask")
"""Leaves that are in slots before a step: input parts of gates, the input, a candidate's mask."""
LEAVES = (*INPUTS, "state", "param", "const")
POINTWISE = {
    "neg": 1,
    "add": 2,
    "sub": 2,
    "mul": 2,
    "div": 2,
    "power": 1,
    "sigmoid": 1,
    "tanh": 1,
    "relu": 1,
    "exp": 1,
    "log": 1,
    "sqrt": 1,
    "abs": 1,
    "softplus": 1,
    "max": 2,
    "min": 2,
    "greater": 2,
    "select": 3,
}
"""Functions of values of one unit, with the number of their arguments."""
ACROSS_UNITS = ("product", "norm")
"""Operations that combine units, so that no program computes them: a row block of weight_hh times a
value, and a value normalised over the units."""


class Node:
    """A subexpression.

    Attributes:
        op: One of `LEAVES`, `POINTWISE` or `ACROSS_UNITS`, or a leaf of the backward pass.
        inputs: The nodes that it is a function of.
        data: The index of an item of x, of the states or of the parameters; the row block of a
            product; the value of a constant; the exponent of `power`; the eps of `norm`.
        number: Its position in the graph.
    """

    __slots__ = ("data", "inputs", "number", "op")

    def __init__(self, op: str, inputs: tuple[Node, ...], data: Data, number: int) -> None:
        self.op = op
        self.inputs = inputs
        self.data = data
        self.number = number

    def __repr__(self) -> str:
        inside = [str(node.number) for node in self.inputs]
        inside += [] if self.data is None else [repr(self.data)]
        return f"{self.number}: {self.op}({', '.join(inside)})"

    @property
    def item(self) -> int:
        """The `data` of a node that is an item of a list."""
        assert isinstance(self.data, int)
        return self.data

    @property
    def constant(self) -> float | None:
        """The value of a constant; None for other nodes."""
        return self.data if self.op == "const" else None


class Graph:
    """A set of nodes without duplicates. The methods return the node of an expression."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple[str, tuple[int, ...], Data], Node] = {}

    def node(self, op: str, *inputs: Node, data: Data = None) -> Node:
        """Return the node of an operation without folding it."""
        numbers = tuple(node.number for node in inputs)
        found = self._known.get((op, numbers, data))
        if found is None and op in ("add", "mul"):
            found = self._known.get((op, numbers[::-1], data))
        if found is None:
            found = Node(op, inputs, data, len(self.nodes))
            self.nodes.append(found)
            self._known[op, numbers, data] = found
        return found

    def const(self, value: float) -> Node:
        """Return a constant."""
        return self.node("const", data=float(value))

    def neg(self, a: Node) -> Node:
        """Return -a."""
        if a.constant is not None:
            return self.const(-a.constant)
        if a.op == "neg":
            return a.inputs[0]
        if a.op == "sub":
            return self.sub(a.inputs[1], a.inputs[0])
        return self.node("neg", a)

    def add(self, a: Node, b: Node) -> Node:
        """Return a + b."""
        if a.constant is not None and b.constant is not None:
            return self.const(a.constant + b.constant)
        if a.constant == 0:
            return b
        if b.constant == 0:
            return a
        if b.op == "neg":
            return self.sub(a, b.inputs[0])
        if a.op == "neg":
            return self.sub(b, a.inputs[0])
        return self.mul(self.const(2), a) if a is b else self.node("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        """Return a - b."""
        if a.constant is not None and b.constant is not None:
            return self.const(a.constant - b.constant)
        if a.constant == 0:
            return self.neg(b)
        if b.constant == 0:
            return a
        if b.op == "neg":
            return self.add(a, b.inputs[0])
        if a.op == "neg":
            return self.neg(self.add(a.inputs[0], b))
        return self.node("sub", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        """Return a * b."""
        if a.constant is not None and b.constant is not None:
            return self.const(a.constant * b.constant)
        for one, other in ((a, b), (b, a)):
            if one.constant == 0:
                return one
            if one.constant == 1:
                return other
            if one.constant == -1:
                return self.neg(other)
            if one.op == "neg":
                return self.neg(self.mul(one.inputs[0], other))
        return self.node("mul", a, b)

    def div(self, a: Node, b: Node) -> Node:
        """Return a / b, as a multiplication if b is a constant."""
        if b.constant is not None:
            return self.mul(a, self.const(1 / b.constant))
        if a.constant == 0:
            return a
        for one in (a, b):
            if one.op == "neg":
                inside = one.inputs[0]
                return self.neg(self.div(inside, b) if one is a else self.div(a, inside))
        return self.node("div", a, b)

    def power(self, a: Node, exponent: float) -> Node:
        """Return a ** exponent."""
        if exponent in (0, 1):
            return self.const(1) if exponent == 0 else a
        if exponent in (0.5, 2):
            return self.apply("sqrt", a) if exponent == 0.5 else self.mul(a, a)
        if a.constant is not None:
            return self.const(a.constant**exponent)
        return self.node("power", a, data=float(exponent))

    def select(self, condition: Node, a: Node, b: Node) -> Node:
        """Return a where condition > 0, else b."""
        if condition.constant is not None:
            return a if condition.constant > 0 else b
        return a if a is b else self.node("select", condition, a, b)

    def again(self, node: Node, *inputs: Node) -> Node:
        """Return the operation of a node of another graph, applied to inputs of this graph."""
        if node.op in ("neg", "add", "sub", "mul", "div", "select"):
            made: Node = getattr(self, node.op)(*inputs)
            return made
        if node.op == "power":
            assert isinstance(node.data, float)
            return self.power(inputs[0], node.data)
        if node.op in POINTWISE:
            return self.apply(node.op, *inputs)
        return self.node(node.op, *inputs, data=node.data)

    def apply(self, op: str, *inputs: Node) -> Node:
        """Return the node of an operation that is folded only if all inputs are constants."""
        values = [node.constant for node in inputs]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            return self.const(_OF_NUMBERS[op](*known))
        return self.node(op, *inputs)


def _sigmoid(v: float) -> float:
    return 0.5 * math.tanh(0.5 * v) + 0.5


def _softplus(v: float) -> float:
    return max(v, 0.0) + math.log1p(math.exp(-abs(v)))


_OF_NUMBERS: dict[str, Callable[..., float]] = {
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "softplus": _softplus,
    "max": max,
    "min": min,
    "greater": lambda a, b: float(a > b),
}


class Equations(NamedTuple):
    """The equations of a traced step, and the shapes of the cell.

    Attributes:
        graph: The nodes of the step.
        results: The new states, the first of them h.
        name, states, gates, params, recurrent_gates, reads_input: As in `rnnfast.Cell`.
        observed: Other nodes that a step keeps in slots, for whoever wants to read them.
    """

    graph: Graph
    results: tuple[Node, ...]
    name: str
    states: int
    gates: int
    params: int
    recurrent_gates: int
    reads_input: bool
    observed: tuple[Node, ...] = ()


def reachable(results: Iterable[Node]) -> list[Node]:
    """Return the results and all nodes that they depend on, in the order of their numbers."""
    found: dict[int, Node] = {}
    todo = list(results)
    while todo:
        node = todo.pop()
        if node.number not in found:
            found[node.number] = node
            todo.extend(node.inputs)
    return [found[number] for number in sorted(found)]


def users(nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    """Return, for each node, the nodes that have it as an input, each once."""
    by_node: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for one in dict.fromkeys(node.inputs):
            by_node[one].append(node)
    return by_node
