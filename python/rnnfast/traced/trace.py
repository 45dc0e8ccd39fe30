"""Tracing: a step runs once on symbolic values, which record its equations as a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from rnnfast.reference import Cell
from rnnfast.reference.cell import Inputs, States, named_blocks
from rnnfast.traced.graph import Equations, Graph, Node, reachable
from rnnfast.traced.value import CellError, Value, fail

LIMITS = {
    "stages": 16,
    "products": 32,
    "gates": 32,
    "values": 32,
    "norms": 32,
    "states": 8,
    "params": 32,
    "slots": 48,
    "constants": 64,
    "temporaries": 48,
}
"""Limits of the engine; opening values count as a stage, temporaries are counted per program."""


class _Recurrent:
    """The symbolic product with weight_hh."""

    def __init__(self, graph: Graph, blocks: int) -> None:
        self._graph = graph
        self._blocks = blocks
        self._used: set[int] = set()

    def __call__(self, operand: object, *blocks: int) -> list[Value]:
        if not isinstance(operand, Value) or operand.node.constant is not None:
            fail(
                f"recurrent: expected a value of the step as operand, got {operand!r}; for the "
                "product of weight_hh and a constant, use bias_hh"
            )
        if operand.graph is not self._graph:
            fail(
                "recurrent: expected a value of this step, got one of another step; a step must "
                "not keep its values"
            )
        if operand.node.op == "input":
            fail(
                "recurrent: expected an operand other than x.input, whose products with the row "
                "blocks of weight_ih are x[0], x[1], ..."
            )
        try:
            named = named_blocks(blocks, self._blocks)
        except (TypeError, ValueError) as error:
            fail(str(error))
        for block in named:
            if block in self._used:
                fail(
                    f"recurrent: row block {block} of weight_hh is used twice, but a step can use "
                    "each block only once; keep the result in a variable"
                )
            self._used.add(block)
        return [
            Value(self._graph, self._graph.node("product", operand.node, data=int(block)))
            for block in named
        ]


class _Inputs(Inputs):
    """The symbolic input of a step."""

    def candidate(self, v: object) -> Any:
        """Return the candidate, times its mask."""
        if not isinstance(v, Value) or v.node.constant is not None:
            fail(f"x.candidate: expected a value of the step, got {v!r}")
        return super().candidate(cast(Any, v))


def trace(cell: Cell, run: Callable[[Callable[[], States]], States] | None = None) -> Equations:
    """Return the equations of the step of a cell, in which a mask multiplies the candidate.

    Args:
        cell: The cell.
        run: What calls the step and returns its result; None to call it directly.

    Raises:
        CellError: The step cannot be compiled, or leaves a row block or parameter unused.
    """
    # A step that declares much more would be traced for hours.
    for gates in (cell.gates, cell.recurrent_blocks):
        check_limits(cell.name, {"states": cell.states, "gates": gates, "params": cell.params})
    graph = Graph()

    def items(op: str, count: int) -> list[Value]:
        return [Value(graph, graph.node(op, data=k)) for k in range(count)]

    entire = Value(graph, graph.node("input")) if cell.reads_input else None
    mask = Value(graph, graph.node("mask"))
    inputs = _Inputs(cast(Any, items("x", cell.gates)), cast(Any, entire), cast(Any, mask))
    recurrent = _Recurrent(graph, cell.recurrent_blocks)
    step = partial(
        cell.advance,
        inputs,
        cast(Any, recurrent),
        cast(Any, items("state", cell.states)),
        cast(Any, items("param", cell.params)),
    )
    new = step() if run is None else run(step)
    results = tuple(_result(cell, graph, k, value) for k, value in enumerate(new))
    equations = Equations(
        graph,
        results,
        cell.name,
        cell.states,
        cell.gates,
        cell.params,
        cell.recurrent_blocks,
        cell.reads_input,
    )
    check_use(equations)
    return equations


def check_limits(name: str, counts: Mapping[str, int]) -> None:
    """Check what a cell has of the things in `LIMITS`.

    Raises:
        CellError: It has more of something than the engine can run.
    """
    for what, count in counts.items():
        if count > LIMITS[what]:
            raise CellError(
                f"cell {name!r}: expected at most {LIMITS[what]} {what}, the limit of the engine, "
                f"got {count}"
            )


def _result(cell: Cell, graph: Graph, k: int, value: object) -> Node:
    """Return the node of a new state."""
    what = f"step of cell {cell.name!r}: new state {k}"
    if not isinstance(value, Value):
        raise CellError(f"{what}: expected a value of the step, got {value!r}")
    if value.graph is not graph:
        raise CellError(
            f"{what}: expected a value of this step, got one of another step; a step must not "
            "keep its values"
        )
    if value.node.constant is not None:
        raise CellError(f"{what} is the constant {value.node.constant}; leave this state out")
    return value.node


def check_use(equations: Equations) -> None:
    """Check that a step uses everything that its cell declares.

    Raises:
        CellError: Something is unused.
    """
    used = {(node.op, node.data) for node in reachable(equations.results)}
    wanted = [
        ("x", equations.gates, "x[{}] (of {} gates)"),
        ("product", equations.recurrent_gates, "row block {} of weight_hh (of {} recurrent_gates)"),
        ("param", equations.params, "channel[{}] (of {} params)"),
    ]
    for op, count, name in wanted:
        for k in range(count):
            if (op, k) not in used:
                raise CellError(
                    f"step of cell {equations.name!r}: the new states do not depend on "
                    f"{name.format(k, count)}; use it or leave it out"
                )
    if equations.reads_input and ("input", None) not in used:
        raise CellError(
            f"step of cell {equations.name!r}: the new states do not depend on x.input, which "
            "reads_input=True declares; use it or leave reads_input out"
        )
