"""Conversion of equations to plain data for files, and back, so a cell works without its code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rnnfast.reference import Cell, tape
from rnnfast.traced.graph import LEAVES, POINTWISE, Equations, Graph, Node, reachable
from rnnfast.traced.sums import regrouped
from rnnfast.traced.value import CellError

FORMAT = 1
LARGEST = {"nodes": 4096, "states": 8, "gates": 32, "params": 32, "recurrent_gates": 32}
"""Bounds on the sizes in a file; `rnnfast.traced.compile` has similar bounds of its own."""

_MASK: tuple[str, list[int], None] = ("mask", [], None)
_SHAPE = ("states", "gates", "params", "recurrent_gates", "reads_input")
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "sigmoid": tape.sigmoid,
    "tanh": tape.tanh,
    "relu": tape.relu,
    "exp": tape.exp,
    "log": tape.log,
    "sqrt": lambda a: a**0.5,
    "abs": abs,
    "softplus": tape.softplus,
    "max": tape.maximum,
    "min": tape.minimum,
    "greater": lambda a, b: a > b,
    "select": tape.where,
}
"""The operations of a step, by the operations of nodes in a graph."""


def canonical(equations: Equations) -> Equations:
    """Return the equations in canonical form: leaves first, without nodes that no state needs.

    Equal equations then have equal graphs, however they were written. Sums are reordered so that an
    input part and a product form a gate (`rnnfast.traced.sums`), with the product last.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    nodes = reachable(equations.results)
    leaves = [node for node in nodes if node.op in LEAVES]
    for node in sorted(leaves, key=lambda node: (node.op, node.data or 0)):
        copies[node] = graph.node(node.op, data=node.data)
    sums, gone = regrouped(equations, nodes)
    for node in nodes:
        if node in sums:
            copies[node] = sums[node].total(graph, copies)
        elif node not in copies and node not in gone:
            inputs = [copies[one] for one in node.inputs]
            if node.op == "add":
                inputs.sort(key=lambda one: one.op == "product")
            copies[node] = graph.node(node.op, *inputs, data=node.data)
    results = tuple(copies[node] for node in equations.results)
    return equations._replace(graph=graph, results=results)


def describe(equations: Equations) -> dict[str, Any]:
    """Return canonical equations as a dictionary for JSON.

    Its "nodes" are lists [operation, numbers of inputs..., data]; nodes without data omit it.
    """
    nodes = []
    for node in equations.graph.nodes:
        data = [] if node.data is None else [node.data]
        nodes.append([node.op, *(one.number for one in node.inputs), *data])
    shape = {key: getattr(equations, key) for key in _SHAPE}
    results = [node.number for node in equations.results]
    return {"format": FORMAT, "name": equations.name, **shape, "nodes": nodes, "results": results}


def without_mask(equations: Equations) -> Equations:
    """Remove the mask of the candidate from equations."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in reachable(equations.results):
        of = [copies[one] for one in node.inputs if one.op != "mask"]
        if len(of) < len(node.inputs):  # the product of a value and the mask
            copies[node] = of[0]
        elif node.op != "mask":
            copies[node] = graph.again(node, *of)
    results = tuple(copies[node] for node in equations.results)
    return equations._replace(graph=graph, results=results)


def cell_of(description: object) -> Cell:
    """Return the cell of a description, whose step evaluates the equations one by one.

    If the description contains the mask of the candidate, the step marks its candidate there.

    Args:
        description: The result of `describe`, also after a round trip through JSON.

    Raises:
        CellError: The description is not of a cell.
    """
    return _Reader(description).cell()


class _Reader:
    """A reader of descriptions, which checks everything, as its input may be any object."""

    def __init__(self, description: object) -> None:
        if not isinstance(description, dict):
            self._fail(f"expected a dictionary, got a {type(description).__name__}")
        keys = {"format", "name", *_SHAPE, "nodes", "results"}
        if description.keys() != keys:
            self._fail(
                f"expected the keys {sorted(keys)}, got {sorted(map(str, description))[:20]}"
            )
        if description["format"] != FORMAT:
            self._fail(f"format: expected {FORMAT}, got {description['format']!r}")
        if not isinstance(description["name"], str) or not 0 < len(description["name"]) <= 200:
            self._fail("name: expected a string of 1 to 200 characters")
        if not isinstance(description["reads_input"], bool):
            self._fail("reads_input: expected true or false")
        for key in ("states", "gates", "params", "recurrent_gates"):
            least = 1 if key in ("states", "gates") else 0
            self._number(key, description[key], least, LARGEST[key] + 1)
        nodes = description["nodes"]
        if not isinstance(nodes, list) or not 0 < len(nodes) <= LARGEST["nodes"]:
            self._fail(f"nodes: expected a list of 1 to {LARGEST['nodes']} nodes")
        self._name = description["name"]
        self._shape = {key: description[key] for key in _SHAPE}
        self._nodes: list[tuple[str, list[int], Any]] = []
        for number, node in enumerate(nodes):
            self._nodes.append(self._marked(number, *self._node(number, node, nodes)))
        self._results = self._read_results(description["results"])

    def cell(self) -> Cell:
        """Return the cell."""
        return Cell(self._name, step=_Step(self._nodes, self._results), **self._shape)

    def _fail(self, message: str) -> NoReturn:
        raise CellError(f"description of a cell: {message}")

    def _number(self, what: str, value: object, least: int, end: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < end:
            self._fail(f"{what}: expected an integer in [{least}, {end}), got {value!r:.60}")
        return value

    def _read_results(self, results: object) -> list[int]:
        states, count = self._shape["states"], len(self._nodes)
        if not isinstance(results, list) or len(results) != states:
            self._fail(f"results: expected a list of {states} node numbers, one per state")
        numbers = [self._number("results", number, 0, count) for number in results]
        for number in numbers:
            if self._nodes[number][0] in ("const", "greater", "mask"):
                self._fail(
                    f"results: expected nodes that are values of the step, got node {number}, "
                    "which is none"
                )
        return numbers

    def _node(self, number: int, node: object, nodes: list[Any]) -> tuple[str, list[int], Any]:
        """Return operation, inputs and data of a node."""
        what = f"nodes[{number}]"
        if not isinstance(node, list) or not node or not isinstance(node[0], str):
            self._fail(f"{what}: expected a list of an operation and numbers, got {node!r:.60}")
        op, *rest = node
        count = POINTWISE.get(op, 1 if op in ("product", "norm") else 0)
        has_data = op in ("x", "state", "param", "const", "power", "product", "norm")
        if not (op in LEAVES or count) or (op == "input" and not self._shape["reads_input"]):
            self._fail(f"{what}: expected an operation that this cell can have, got {op!r:.60}")
        if len(rest) != count + has_data:
            self._fail(f"{what}: expected {count + has_data} numbers after {op!r}, got {len(rest)}")
        inputs = [self._number(f"{what}: input", one, 0, number) for one in rest[:count]]
        for place, one in enumerate(inputs):
            is_condition = op == "select" and place == 0
            if (nodes[one][0] == "greater") != is_condition:
                self._fail(
                    f"{what}: expected inputs that {op} can have, got node {one}, whose "
                    f"operation is {nodes[one][0]}"
                )
        if count and all(nodes[one][0] == "const" for one in inputs[op == "select" :]):
            self._fail(
                f"{what}: expected {op} to have an input that is not constant, got only constants"
            )
        return op, inputs, self._data(what, op, rest[-1]) if has_data else None

    def _marked(
        self, number: int, op: str, inputs: list[int], data: Any
    ) -> tuple[str, list[int], Any]:
        """Return the node, but turn a product with the mask into the mark of the candidate."""
        of = [one for one in inputs if self._nodes[one] != _MASK]
        if len(of) == len(inputs):
            return op, inputs, data
        if op != "mul" or len(of) != 1:
            self._fail(
                f"nodes[{number}]: expected the mask of the candidate to be multiplied by one "
                f"value, got {op} of it"
            )
        return "candidate", of, None

    def _data(self, what: str, op: str, data: object) -> int | float:
        ends = {"x": "gates", "state": "states", "param": "params", "product": "recurrent_gates"}
        if op in ends:
            return self._number(what, data, 0, self._shape[ends[op]])
        largest = {"power": 64.0, "norm": 1.0, "const": sys.float_info.max}[op]
        if isinstance(data, bool) or not isinstance(data, (int, float)) or not abs(data) <= largest:
            self._fail(f"{what}: expected a number of at most {largest}, got {data!r:.60}")
        if op == "norm" and data <= 0:
            self._fail(f"{what}: expected eps > 0, got {data}")
        return float(data)


class _Step:
    """A step that evaluates a list of nodes."""

    def __init__(self, nodes: list[tuple[str, list[int], Any]], results: list[int]) -> None:
        self._nodes = nodes
        self._results = results

    def __call__(
        self, x: Any, recurrent: Any, state: Sequence[Any], channel: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Return the new states."""
        values: list[Any] = []
        for op, inputs, data in self._nodes:
            of = [values[one] for one in inputs]
            if op in _FUNCTIONS:
                value = _FUNCTIONS[op](*of)
            elif op == "product":
                (value,) = recurrent(*of, data)
            elif op == "power":
                value = of[0] ** data
            elif op == "norm":
                value = tape.normalize(*of, data)
            elif op == "candidate":
                value = x.candidate(*of)
            elif op == "mask":
                value = None
            elif op == "input":
                value = x.input
            else:
                value = (
                    data if op == "const" else {"x": x, "state": state, "param": channel}[op][data]
                )
            values.append(value)
        return tuple(values[number] for number in self._results)
