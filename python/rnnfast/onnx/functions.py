"""Inlining of the functions of an ONNX model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import inliner

from rnnfast.onnx.values import inner_graphs

_MAX_NODES = 1_000_000


def inlined(model: Any) -> Any:
    """Return the model with all calls of its functions inlined.

    Raises:
        ValueError: A function calls itself, inlining would create more than a million nodes, or a
            function cannot be inlined.
    """
    if not model.functions:
        return model
    bodies = {(f.domain, f.name): f.node for f in model.functions}
    counts: dict[tuple[str, str], int] = {}
    for function in bodies:
        _count(function, bodies, counts)
    size = sum(counts.get((n.domain, n.op_type), 1) for n in _all_nodes(model.graph.node))
    if size > _MAX_NODES:
        raise ValueError(
            f"source: expected at most {_MAX_NODES} nodes after its functions are inlined, got "
            f"{size}"
        )
    try:
        result = inliner.inline_local_functions(model)
    except Exception as error:  # onnx raises errors of any type
        raise ValueError(f"source: its functions cannot be inlined: {error}") from error
    if result.functions:
        names = ", ".join(sorted(f.name for f in result.functions))
        raise ValueError(
            f"source: expected functions in the model's version of the operator set, got {names} "
            "in another"
        )
    return result


def _count(
    function: tuple[str, str],
    bodies: dict[tuple[str, str], Any],
    counts: dict[tuple[str, str], int],
) -> None:
    """Count the nodes of a function with those of the functions that it calls."""
    stack = [(function, False)]
    calling: set[tuple[str, str]] = set()
    while stack:
        current, ready = stack.pop()
        calls = [(n.domain, n.op_type) for n in _all_nodes(bodies[current])]
        if ready:
            calling.discard(current)
            counts[current] = 1 + sum(counts.get(call, 1) for call in calls)
        elif current in calling:
            raise ValueError(f"source: expected functions without recursion, got {current[1]!r}")
        elif current not in counts:
            calling.add(current)
            stack.append((current, True))
            stack += [(call, False) for call in calls if call in bodies and call not in counts]


def _all_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in inner_graphs(attribute):
                yield from _all_nodes(graph.node)
