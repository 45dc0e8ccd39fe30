"""The places where the programs of a step find nodes, and those that they write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

from rnnfast.traced.derivative import GIVEN, Backward
from rnnfast.traced.graph import INPUTS, Node
from rnnfast.traced.stages import Plan

Place: TypeAlias = "tuple[str, int]"
Root: TypeAlias = "tuple[Place, Node]"
"""A place that a program writes, and the node that it writes there."""


class Kept(NamedTuple):
    """The nodes that a step keeps for later stages and for its backward pass, and their slots.

    Attributes:
        slot: The slots of the nodes that are kept, and of the input parts.
        stage: The stage that writes each node that is kept; -1 for input parts.
        size: The number of slots.
    """

    slot: dict[Node, int]
    stage: dict[Node, int]
    size: int


def forward_place(plan: Plan, kept: Kept, stage: int, node: Node) -> Place | None:
    """Return where the program of a stage finds a node; None if the program computes it."""
    if node.op in ("state", "param"):
        return (node.op, node.item)
    if node.op in INPUTS or kept.stage.get(node, stage) < stage:
        return ("slot", kept.slot[node])
    if node.op in ("product", "norm"):
        assert plan.stage[node] == stage, f"{node} is not available after its stage"
        if node.op == "norm":
            return ("norm", next(k for k, norm in enumerate(plan.norms) if norm.node is node))
        return ("h", next(g for g, gate in enumerate(plan.gates) if gate.h is node))
    return None


def opening_place(node: Node) -> Place | None:
    """Return where the programs of opening values find a node; None if they compute it."""
    return (node.op, node.item) if node.op in ("state", "param", *GIVEN) else None


def backward_place(plan: Plan, kept: Kept, node: Node) -> Place | None:
    """Return where the backward program of a stage finds a node; None if it computes the node."""
    if node.op in ("state", "param", *GIVEN):
        return (node.op, node.item)
    if node in plan.equations.results:
        return ("next", plan.equations.results.index(node))
    return ("slot", kept.slot[node]) if node in kept.stage else None


def forward_roots(plan: Plan, kept: Kept, stage: int) -> list[Root]:
    """Return the roots of the program of a stage.

    The new h is written in the last stage, other new states in the stage that computes them.
    """
    roots: list[Root] = [
        (("slot", kept.slot[node]), node) for node, made in kept.stage.items() if made == stage
    ]
    roots += [(("made", k), node) for k, node in plan.values_of(stage)]
    for k, node in enumerate(plan.equations.results):
        made_by = plan.stage.get(node, plan.last) if k > 0 else plan.last
        roots += [(("next", k), node)] if made_by == stage else []
    return roots


def backward_roots(plan: Plan, backward: Backward, stage: int) -> list[Root]:
    """Return the roots of the backward program of a stage: gradients, and its values once more."""
    made: list[Root] = [(("made", k), node) for k, node in plan.values_of(stage)]
    return [*backward.stages[stage], *made]


class Visit(NamedTuple):
    """The nodes and places that a program uses.

    Attributes:
        stage: The stage of a forward program; None for a backward program.
        results: The nodes that it writes.
        computed: The nodes that it computes, except constants.
        read: The places that it reads.
    """

    stage: int | None
    results: set[Node]
    computed: set[Node]
    read: set[Place]


def visits(plan: Plan, backward: Backward | None, kept: Kept) -> Iterator[Visit]:
    """Yield the visits of the programs of all stages."""
    for k in range(plan.stages):
        yield _visit(k, forward_roots(plan, kept, k), partial(forward_place, plan, kept, k))
        if backward is not None:
            yield _visit(
                None, backward_roots(plan, backward, k), partial(backward_place, plan, kept)
            )


def _visit(
    stage: int | None, roots: Iterable[Root], place: Callable[[Node], Place | None]
) -> Visit:
    """Return the visit of the program with these roots."""
    visit = Visit(stage, {node for _, node in roots}, set(), set())
    todo = list(visit.results)
    while todo:
        node = todo.pop()
        if node in visit.computed or node.op == "const":
            continue
        at = place(node)
        if at is None:
            visit.computed.add(node)
            todo.extend(node.inputs)
        else:
            visit.read.add(at)
    return visit
