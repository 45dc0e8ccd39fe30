"""Names of the values of a step: those of the variables of the function that returns the states.

A step runs once on symbols (`trace.py`), and names are read off its variables when it returns. A
variable that was bound several times names its last value. Where the step returns the result of
another function, as in `return _gated(x, state)`, the variables of that function count as well; of
other functions that it calls, none do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from rnnfast.reference import Cell
from rnnfast.traced.graph import Equations, Node, reachable
from rnnfast.traced.trace import trace
from rnnfast.traced.value import OWN_FILES, Value

Result = TypeVar("Result")


class Named(NamedTuple):
    """A traced step with the names of its values.

    Attributes:
        equations: The step.
        states: The name of each state after the step. The first is "h". Others have the name of the
            variable that is returned, or else of the one that holds the old state, or "state_1" and
            so on.
        values: The other named values that change from step to step, by name.
        sums: Names of those that are linear in the input and in products, such as the arguments of
            the functions of gates; a candidate is none of them.
    """

    equations: Equations
    states: tuple[str, ...]
    values: dict[str, Node]
    sums: frozenset[str]


def name_values(cell: Cell) -> Named:
    """Trace the step of a cell, and name its values.

    Values in a list or tuple are named after it, as in `sums[0]`. Variables whose names begin with
    an underscore name nothing. A variable h that is not the first state is called `h_`.

    Raises:
        CellError: The step cannot be compiled.
    """
    variables: dict[str, object] = {}

    def watched(step: Callable[[], Any]) -> Any:
        result, found = _with_variables(step)
        variables.update(found)
        return result

    equations = trace(cell, watched)
    found = dict(_values(variables))
    states = _state_names(equations, found)
    varying = _varying(equations, found)
    known = {node.number for node in equations.results}
    values: dict[str, Node] = {}
    for name, node in found.items():
        if node.op != "state" and node.number not in known and node.number in varying:
            values[_free(name, (*states, *values))] = node
    named = {node.number for name, node in values.items() if "[" not in name}
    values = {n: node for n, node in values.items() if "[" not in n or node.number not in named}
    linear = _linear(equations, values)
    sums = frozenset(name for name, node in values.items() if node.number in linear)
    return Named(equations, states, values, sums)


def _with_variables(call: Callable[[], Result]) -> tuple[Result, dict[str, object]]:
    """Return the result of a call, and the variables of the functions that returned that object."""
    returned: list[tuple[object, dict[str, object]]] = []

    def watch(frame: FrameType, event: str, value: object) -> None:
        own = frame.f_code.co_filename in OWN_FILES
        if event == "return" and type(value) is tuple and not own:
            returned.append((value, dict(frame.f_locals)))

    def run() -> Result:
        sys.setprofile(watch)
        return call()

    # Each thread has a profile function of its own: the caller's may be a profiler, which could not
    # be put back.
    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(run).result()
    variables: dict[str, object] = {}
    for value, of_function in reversed(returned):  # the outermost function returns last
        if value is result:
            variables |= {n: v for n, v in of_function.items() if n not in variables}
    return result, variables


def _values(variables: dict[str, object]) -> Iterator[tuple[str, Node]]:
    for name, value in variables.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Value):
            yield name, value.node
        elif isinstance(value, (list, tuple)):
            for k, item in enumerate(value):
                if isinstance(item, Value):
                    yield f"{name}[{k}]", item.node


def _state_names(equations: Equations, found: dict[str, Node]) -> tuple[str, ...]:
    names = ["h"]
    plain = {name: node for name, node in found.items() if "[" not in name}
    for k, result in enumerate(equations.results[1:], 1):
        after = [name for name, node in plain.items() if node is result]
        before = [n for n, node in plain.items() if (node.op, node.data) == ("state", k)]
        candidates = [_free(name, ("h",)) for name in (*after, *before)]
        names.append(next((n for n in candidates if n not in names), f"state_{k}"))
    return tuple(names)


def _varying(equations: Equations, found: dict[str, Node]) -> set[int]:
    """Return the numbers of the nodes that depend on more than parameters and constants."""
    varying: set[int] = set()
    for node in reachable((*equations.results, *found.values())):
        if node.op in ("x", "input", "state") or any(one.number in varying for one in node.inputs):
            varying.add(node.number)
    return varying


def _linear(equations: Equations, values: dict[str, Node]) -> set[int]:
    """Return the numbers of the nodes that are linear in inputs and products, but no candidates."""
    masked = (
        node for node in equations.graph.nodes if any(one.op == "mask" for one in node.inputs)
    )
    candidates = {one.number for node in masked for one in node.inputs}
    constant: set[int] = set()
    linear: set[int] = set()
    for node in reachable((*equations.results, *values.values())):
        numbers = {one.number for one in node.inputs}
        if node.op in ("param", "const") or (numbers and numbers <= constant):
            constant.add(node.number)
            continue
        adds = node.op in ("add", "sub", "neg", "norm")
        scales = node.op in ("mul", "div") and numbers & constant
        if node.op in ("x", "input", "product") or (
            (adds or scales) and numbers <= linear | constant
        ):
            linear.add(node.number)
    return linear - candidates


def _free(name: str, taken: tuple[str, ...]) -> str:
    while name in taken:
        name += "_"
    return name
