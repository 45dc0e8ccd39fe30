"""Choice of the values that a step keeps for later stages and for its backward pass.

A step keeps the fewest values from which the rest can be recomputed. States and parameters are
available anyway, and so are the new states in the backward pass: tanh of an LSTM's new c, for
example, is recomputed rather than kept. A further value is kept if this saves enough computation to
be worth a slot, as in a long chain of values that several stages need.
"""

from __future__ import annotations

from collections import Counter

from rnnfast.traced.cut import fewest
from rnnfast.traced.derivative import GIVEN, Backward
from rnnfast.traced.graph import INPUTS, Node, reachable
from rnnfast.traced.places import Kept, Visit, visits
from rnnfast.traced.slots import placed
from rnnfast.traced.stages import OPENING, Plan

_COST = dict.fromkeys(("sigmoid", "tanh", "exp", "log", "softplus", "power"), 4)
"""The cost of expensive functions in simple instructions."""
_WORTH_A_SLOT = 12
"""Writing and reading a slot once takes about as long as this many simple instructions."""


def keep(plan: Plan, backward: Backward | None) -> Kept:
    """Choose the values that a step keeps; `backward` is None for a form without gradients."""
    by_stage = sorted(plan.norms, key=lambda norm: -norm.made_by)
    normalised = {norm.operand: norm.made_by for norm in by_stage}  # by the first that has it
    later = _wanted_later(plan)

    def is_known(node: Node) -> bool:
        is_next = node in plan.equations.results and node not in later
        return node.op in ("state", "param", "const") or node in normalised or is_next

    chosen = fewest([*_wanted_backward(plan, backward), *later], is_known, plan.stage.__contains__)
    stage = {node: plan.stage.get(node, k) for node, k in normalised.items()}
    stage |= {node: plan.stage[node] for node in chosen}
    stage |= {node: plan.stage.get(node, plan.last) for node in plan.equations.observed}
    stage |= {node: -1 for node in stage if node.op in INPUTS}
    _spare(plan, backward, stage)
    in_order = dict(sorted(stage.items(), key=lambda item: (item[1], item[0].number)))
    return placed(plan, backward, in_order, [*normalised, *plan.equations.observed])


def _wanted_backward(plan: Plan, backward: Backward | None) -> list[Node]:
    """Return the nodes of the forward pass that the backward programs need."""
    if backward is None:
        return []
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
    """Return the nodes that stages need from earlier ones, except operands of products."""
    h = plan.equations.results[0]
    wanted = [h] if plan.stage.get(h, plan.last) < plan.last else []
    for node in plan.nodes:
        if node in plan.stage and node.op not in ("product", "norm"):
            k = plan.stage[node]
            wanted += [one for one in node.inputs if plan.stage.get(one, k) < k]
    return wanted


def _spare(plan: Plan, backward: Backward | None, stage: dict[Node, int]) -> None:
    """Also keep the nodes that cost more to recompute than a slot."""
    while True:
        kept = Kept(dict.fromkeys(stage, 0), stage, 0)
        kept.slot.update({node: 0 for node in plan.nodes if node.op in INPUTS})
        spared: Counter[Node] = Counter()
        for visit in visits(plan, backward, kept):
            spared.update(_spared(plan, visit))
        best = max(spared, key=lambda node: (spared[node], -node.number), default=None)
        if best is None or spared[best] < _WORTH_A_SLOT:
            return
        stage[best] = plan.stage[best]


def _spared(plan: Plan, visit: Visit) -> dict[Node, int]:
    """Return, for each node that could be kept, the cost that keeping it would save a program.

    Keeping a node saves the computation of the node itself and of everything that it dominates in
    the graph of the program, as nothing else needs that. Costs are in simple instructions; nodes
    that the forward pass computes for the first time cost nothing.
    """
    users: dict[Node, list[Node]] = {node: [] for node in visit.computed}
    dominator: dict[Node, Node | None] = {}
    depth: dict[Node | None, int] = {None: 0}
    cost: dict[Node, int] = {}
    in_order = sorted(visit.computed, key=lambda node: -node.number)
    for node in in_order:
        above: Node | None = None if node in visit.results else users[node][0]
        for user in users[node]:
            above = _common(above, user, dominator, depth)
        dominator[node] = above
        depth[node] = depth[above] + 1
        again = plan.stage.get(node, visit.stage) != visit.stage
        cost[node] = _COST.get(node.op, 1) if again else 0
        for one in node.inputs:
            if one in users:
                users[one].append(node)
    for node in reversed(in_order):
        above = dominator[node]
        if above is not None:
            cost[above] += cost[node]
    return {
        node: cost[node] for node in in_order if plan.stage.get(node, visit.stage) != visit.stage
    }


def _common(
    a: Node | None,
    b: Node | None,
    dominator: dict[Node, Node | None],
    depth: dict[Node | None, int],
) -> Node | None:
    """Return the lowest common ancestor in the tree of dominators; None for its root."""
    while a is not b:
        if depth[a] < depth[b]:
            a, b = b, a
        assert a is not None
        a = dominator[a]
    return a
