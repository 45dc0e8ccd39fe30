"""What a step keeps for later stages and for its backward pass.

Kept are the fewest values of which the rest can be computed again: states and parameters are there
anyway, and so are the new states in the backward pass. Tanh of an LSTM's new c is computed again
rather than kept. More is kept where that spares so much that it is worth a slot, as of a long
chain of values each of which is needed in several stages.
"""

from __future__ import annotations

from collections import Counter

from rnnfast.traced.cut import fewest
from rnnfast.traced.derivative import GIVEN, Backward
from rnnfast.traced.graph import Node, reachable
from rnnfast.traced.places import Kept, visits
from rnnfast.traced.slots import placed
from rnnfast.traced.stages import OPENING, Plan

_COST = dict.fromkeys(("sigmoid", "tanh", "exp", "log", "softplus", "power"), 4)
"""What functions cost that are more than an instruction, in simple instructions."""
_WORTH_A_SLOT = 12
"""So many simple instructions, about, take as long as writing a slot and reading it once."""


def keep(plan: Plan, backward: Backward) -> Kept:
    """Chooses what a step keeps."""
    by_stage = sorted(plan.norms, key=lambda norm: -norm.made_by)
    normalised = {norm.operand: norm.made_by for norm in by_stage}  # by the first that has it
    later = _wanted_later(plan)

    def is_known(node: Node) -> bool:
        is_next = node in plan.equations.results and node not in later
        return node.op in ("state", "param", "const") or node in normalised or is_next

    chosen = fewest([*_wanted_backward(plan, backward), *later], is_known, plan.stage.__contains__)
    stage = {node: plan.stage.get(node, k) for node, k in normalised.items()}
    stage |= {node: plan.stage[node] for node in chosen}
    stage |= {node: -1 for node in stage if node.op in ("x", "input")}
    _spare(plan, backward, stage)
    in_order = dict(sorted(stage.items(), key=lambda item: (item[1], item[0].number)))
    return placed(plan, backward, in_order, normalised)


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
    h = plan.equations.results[0]
    wanted = [h] if plan.stage.get(h, plan.last) < plan.last else []
    for node in plan.nodes:
        if node in plan.stage and node.op not in ("product", "norm"):
            k = plan.stage[node]
            wanted += [one for one in node.inputs if plan.stage.get(one, k) < k]
    return wanted


def _spare(plan: Plan, backward: Backward, stage: dict[Node, int]) -> None:
    """Adds the nodes to what is kept that are computed so often that a slot is cheaper."""
    while True:
        again = _again(plan, backward, stage)
        often = [node for node in plan.stage if again[node] > 1]
        costs = {
            node: _cost(_again(plan, backward, stage | {node: plan.stage[node]})) for node in often
        }
        best = min(often, key=lambda node: (costs[node], node.number), default=None)
        if best is None or _cost(again) - costs[best] < _WORTH_A_SLOT:
            return
        stage[best] = plan.stage[best]


def _again(plan: Plan, backward: Backward, stage: dict[Node, int]) -> Counter[Node]:
    """How often programs compute nodes that another stage's forward program has computed."""
    kept = Kept(dict.fromkeys(stage, 0), stage, 0)
    kept.slot.update({gate.x: 0 for gate in plan.gates if gate.x is not None})
    again: Counter[Node] = Counter()
    for visit in visits(plan, backward, kept):
        again.update(
            node for node in visit.computed if plan.stage.get(node, visit.stage) != visit.stage
        )
    return again


def _cost(again: Counter[Node]) -> int:
    return sum(count * _COST.get(node.op, 1) for node, count in again.items())
