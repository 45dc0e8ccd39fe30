"""What a step keeps for later stages and for its backward pass, and in which slots.

Kept are the fewest values of which the rest can be computed again: states and parameters are there
anyway, and so are the new states in the backward pass. Tanh of an LSTM's new c is computed again
rather than kept. An input's part that is needed as it is stays in its slot; other values take the
slots of inputs' parts that nobody reads any more, as far as there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, TypeAlias

from rnnfast.traced.cut import fewest
from rnnfast.traced.derivative import GIVEN, Backward
from rnnfast.traced.graph import Node, reachable
from rnnfast.traced.stages import OPENING, Plan

Place: TypeAlias = "tuple[str, int]"
Root: TypeAlias = "tuple[Place, Node]"
"""A place that a program writes, and the node of what it writes there."""
_FOREVER = 1 << 30


class Kept(NamedTuple):
    """What is kept, and where.

    Attributes:
        slot: the slots of the nodes that are kept, and of the inputs' parts.
        stage: the stage that puts each node that is kept there; -1 for inputs' parts.
        size: the number of slots.
    """

    slot: dict[Node, int]
    stage: dict[Node, int]
    size: int


def forward_place(plan: Plan, kept: Kept, stage: int, node: Node) -> Place | None:
    """Where the program of a stage finds a node; None if the program computes it."""
    if node.op in ("state", "param"):
        return (node.op, node.item)
    if node.op in ("x", "input") or kept.stage.get(node, stage) < stage:
        return ("slot", kept.slot[node])
    if node.op in ("product", "norm"):
        assert plan.stage[node] == stage, f"{node} is not there any more"
        return ("h", next(g for g, gate in enumerate(plan.gates) if gate.h is node))
    return None


def backward_place(plan: Plan, kept: Kept, node: Node) -> Place | None:
    """Where the backward pass finds a node; None if the program computes it."""
    if node.op in ("state", "param", *GIVEN):
        return (node.op, node.item)
    if node in plan.equations.results:
        return ("next", plan.equations.results.index(node))
    return ("slot", kept.slot[node]) if node in kept.stage else None


def forward_roots(plan: Plan, kept: Kept, stage: int) -> list[Root]:
    """What the program of a stage writes."""
    roots: list[Root] = [
        (("slot", kept.slot[node]), node) for node, made in kept.stage.items() if made == stage
    ]
    roots += [(("made", k), node) for k, node in plan.values_of(stage)]
    if stage == plan.last:
        roots += [(("next", k), node) for k, node in enumerate(plan.equations.results)]
    return roots


def backward_roots(plan: Plan, backward: Backward, stage: int) -> list[Root]:
    """What the backward program of a stage writes: gradients, and its values once more."""
    made: list[Root] = [(("made", k), node) for k, node in plan.values_of(stage)]
    return [*backward.stages[stage], *made]


def found(roots: Iterable[Root], place: Callable[[Node], Place | None]) -> set[Place]:
    """The places that a program of these roots reads, but for constants."""
    seen: set[Node] = set()
    places = set()
    todo = [node for _, node in roots]
    while todo:
        node = todo.pop()
        if node in seen or node.op == "const":
            continue
        seen.add(node)
        at = place(node)
        if at is None:
            todo.extend(node.inputs)
        else:
            places.add(at)
    return places


def keep(plan: Plan, backward: Backward) -> Kept:
    """Chooses what a step keeps."""
    normalised = {
        product.operand: k
        for k, products in reversed([*enumerate(plan.products)])
        for product in products
        if product.kind == "norm"
    }  # the backward pass of a norm reads them

    def is_known(node: Node) -> bool:
        is_result = node in plan.equations.results and plan.stage.get(node) == plan.last
        return node.op in ("state", "param", "const") or node in normalised or is_result

    chosen = fewest(
        [*_wanted_backward(plan, backward), *_wanted_later(plan)],
        is_known,
        plan.stage.__contains__,
    )
    stage = {node: plan.stage.get(node, k) for node, k in normalised.items()}
    stage |= {node: plan.stage[node] for node in chosen}
    stage |= {node: -1 for node in stage if node.op in ("x", "input")}
    in_order = dict(sorted(stage.items(), key=lambda item: (item[1], item[0].number)))
    return _placed(plan, backward, in_order, normalised)


def _wanted_backward(plan: Plan, backward: Backward) -> list[Node]:
    """What the backward programs need of the forward pass."""
    everything = [*backward.stages, backward.opening]
    nodes = reachable(node for roots in everything for _, node in roots)
    gradients: set[Node] = set()
    for node in nodes:
        if node.op in GIVEN or not gradients.isdisjoint(node.inputs):
            gradients.add(node)
    wanted = {one: None for node in nodes if node in gradients for one in node.inputs}
    values = zip(plan.values, plan.made_in, strict=True)
    wanted |= {node: None for node, made in values if made != OPENING}
    return [node for node in wanted if node not in gradients]


def _wanted_later(plan: Plan) -> list[Node]:
    """What a stage needs of earlier ones, but for what products multiply."""
    wanted = [
        node for node in plan.equations.results if plan.stage.get(node, plan.last) < plan.last
    ]
    for node in plan.nodes:
        if node in plan.stage and node.op not in ("product", "norm"):
            k = plan.stage[node]
            wanted += [one for one in node.inputs if plan.stage.get(one, k) < k]
    return wanted


def _placed(
    plan: Plan, backward: Backward, stage: dict[Node, int], normalised: Iterable[Node]
) -> Kept:
    """Gives the nodes that are kept, which are in the order of their stages, their slots."""
    inputs = {gate.x: g for g, gate in enumerate(plan.gates) if gate.x is not None}
    last_use = _last_use(plan, backward, stage, inputs, normalised)
    until = [last_use[x] for x in inputs]
    slot = dict(inputs)
    waiting = [node for node in stage if node not in inputs]
    for k in range(plan.stages):
        new = [node for node in waiting if stage[node] == k]
        homes = {node: _home(plan, node) for node in new}
        for node in sorted(new, key=lambda node: homes[node] is None):
            free = [s for s, use in enumerate(until) if use <= k]
            home = homes[node]
            if home not in free:
                home = free[0] if free else len(until)
            assert home is not None
            until[home : home + 1] = [max(last_use[node], k + 1)]
            slot[node] = home
    return Kept(slot, stage, len(until))


def _last_use(
    plan: Plan,
    backward: Backward,
    stage: dict[Node, int],
    inputs: Iterable[Node],
    normalised: Iterable[Node],
) -> dict[Node, int]:
    """The last stage that reads each node out of a slot, `_FOREVER` for the backward pass."""
    nodes = list(dict.fromkeys([*inputs, *stage]))
    apart = Kept({node: node.number for node in nodes}, stage, 0)
    last_use = dict.fromkeys(nodes, -1)
    for k in range(plan.stages):
        read = found(forward_roots(plan, apart, k), partial(forward_place, plan, apart, k))
        last_use |= {node: k for node in nodes if ("slot", node.number) in read}
    roots = [root for k in range(plan.stages) for root in backward_roots(plan, backward, k)]
    read = found(roots, partial(backward_place, plan, apart))
    forever = [node for node in nodes if ("slot", node.number) in read]
    return last_use | dict.fromkeys([*forever, *normalised], _FOREVER)


def _home(plan: Plan, node: Node) -> int | None:
    """The gate with an input's part that a node is made of, if it is a single one."""
    gates = {gate.node: g for g, gate in enumerate(plan.gates[: plan.x_gates])}
    found: set[int] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if one in gates:
            found.add(gates[one])
        elif plan.stage.get(one) == plan.stage.get(node):
            todo.extend(one.inputs)
    return found.pop() if len(found) == 1 else None
