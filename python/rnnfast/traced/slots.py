"""Assignment of slots to the values that a step keeps.

An input part that is still needed stays in its slot, and so does the mask of the candidate, whose
slot follows those of the input parts. Other values reuse the slots of input parts that are no
longer read, if there are any.
"""

from __future__ import annotations

from collections.abc import Iterable

from rnnfast.traced.derivative import Backward
from rnnfast.traced.graph import Node
from rnnfast.traced.places import Kept, visits
from rnnfast.traced.stages import Plan

_FOREVER = 1 << 30


def placed(
    plan: Plan, backward: Backward | None, stage: dict[Node, int], read: Iterable[Node]
) -> Kept:
    """Assign slots to nodes.

    Args:
        plan: The stages of the step.
        backward: Their gradients, or None.
        stage: The stage that writes each node that is kept, in the order of stages; -1 for input
            parts.
        read: The kept nodes that are read after the step: by backward passes of norms, or because
            they are observed.
    """
    given = [gate.x for gate in plan.gates[: plan.x_gates]]
    given += [node for node in plan.nodes if node.op == "mask"]
    inputs = {node: place for place, node in enumerate(given) if node is not None}
    last_use = _last_use(plan, backward, stage, inputs, read)
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
    backward: Backward | None,
    stage: dict[Node, int],
    inputs: Iterable[Node],
    read: Iterable[Node],
) -> dict[Node, int]:
    """Return the last stage that reads each node from its slot; `_FOREVER` for backward."""
    nodes = {node.number: node for node in [*inputs, *stage]}
    apart = Kept({node: number for number, node in nodes.items()}, stage, 0)
    last_use = dict.fromkeys(nodes.values(), -1)
    for visit in visits(plan, backward, apart):
        for kind, number in visit.read:
            if kind == "slot":
                use = _FOREVER if visit.stage is None else visit.stage
                last_use[nodes[number]] = max(last_use[nodes[number]], use)
    return last_use | dict.fromkeys(read, _FOREVER)


def _home(plan: Plan, node: Node) -> int | None:
    """Return the gate with an input part from which a node is computed, if there is just one."""
    gates = {gate.node: g for g, gate in enumerate(plan.gates[: plan.x_gates])}
    seen: set[Node] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if one not in seen and plan.stage.get(one) == plan.stage.get(node):
            seen.add(one)
            todo.extend(() if one in gates else one.inputs)
    homes = {gates[one] for one in seen if one in gates}
    return homes.pop() if len(homes) == 1 else None
