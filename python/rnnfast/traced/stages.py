"""The cut of a step into stages: each has products, then a program that runs for every unit.

Products and other nodes are computed as late as possible without adding a stage, so little has to
be kept for later stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rnnfast.traced.graph import INPUTS, POINTWISE, Equations, Node, reachable, users

OPENING = -1
"""The stage of values that the previous step computes at its end, from states and constants."""


class Gate(NamedTuple):
    """A quantity that enters the programs of a step from outside.

    Attributes:
        x: The input part: a row block of weight_ih, or the input itself; None without one.
        h: The recurrent part, a product; None without one.
        node: The node that the programs see: the sum of both parts, or the only part.
    """

    x: Node | None
    h: Node | None
    node: Node


class Multiplied(NamedTuple):
    """A product of a stage.

    Attributes:
        operand: The operand: h before the step, or a value.
        first: The first of its gates.
        gates: Number of its gates, which follow each other.
    """

    operand: Node
    first: int
    gates: int


class Normalised(NamedTuple):
    """A value normalised over the units.

    Attributes:
        node: The result.
        made_by: The stage that makes its operand.
        used_by: The first stage that sees the result.
    """

    node: Node
    made_by: int
    used_by: int

    @property
    def operand(self) -> Node:
        """The node that is normalised."""
        return self.node.inputs[0]


class Plan(NamedTuple):
    """The plan of a step: the stage and place of all its nodes.

    Attributes:
        equations: The step.
        nodes: The nodes that the new states and observed nodes depend on, in the order of their
            numbers.
        stages: Number of stages.
        stage: The stage of each node, except nodes that depend only on states and parameters, which
            any stage may compute.
        gates: The gates in the engine's order.
        x_gates: How many of them have an input's part; they are the first.
        values: What products multiply, opening values first, then by stage.
        made_in: The stage that makes each value, or `OPENING`.
        products: Those of each stage.
        norms: The normalised values, in the order of the nodes' numbers.
    """

    equations: Equations
    nodes: list[Node]
    stages: int
    stage: dict[Node, int]
    gates: list[Gate]
    x_gates: int
    values: list[Node]
    made_in: list[int]
    products: list[list[Multiplied]]
    norms: list[Normalised]

    @property
    def last(self) -> int:
        """The last stage."""
        return self.stages - 1

    def values_of(self, stage: int) -> list[tuple[int, Node]]:
        """Return number and node of the values that a stage computes."""
        pairs = enumerate(zip(self.values, self.made_in, strict=True))
        return [(k, node) for k, (node, made) in pairs if made == stage]


def cut(equations: Equations) -> Plan:
    """Cut a step into stages."""
    ends = *equations.results, *equations.observed
    nodes = reachable(ends)
    first = _of_states_alone(nodes)
    earliest: dict[Node, int] = {}
    for node in nodes:
        known = [earliest[one] for one in node.inputs if one in earliest]
        if node.op in ("product", "norm"):
            earliest[node] = known[0] + 1 if known else int(node not in first)
        elif known or node.op in INPUTS:
            earliest[node] = max(known, default=0)
    count = 1 + max((earliest[node] for node in ends if node in earliest), default=0)

    latest = dict.fromkeys(earliest, count - 1)
    multiplied: dict[Node, int] = {}  # the latest stage that may compute each value
    for node in reversed(nodes):
        across = node.op in ("product", "norm")
        for one in node.inputs if node in latest else ():
            by = latest[node] - across
            if one in latest:
                by = latest[one] = min(latest[one], by)
            if node.op == "product" and not is_output(one):
                multiplied[one] = min(multiplied.get(one, by), by)
    made_in = {node: latest.get(node, by) for node, by in multiplied.items()}
    values = sorted(made_in, key=lambda node: (made_in[node], node.number))

    gates, x_gates, groups = _gates(equations, nodes, latest)
    place = {gate.h: k for k, gate in enumerate(gates) if gate.h is not None}
    products: list[list[Multiplied]] = [[] for _ in range(count)]
    for group in groups:
        for start, size in _runs(place[h] for h in group):
            products[latest[group[0]]].append(Multiplied(group[0].inputs[0], start, size))
    norms = [
        Normalised(node, latest.get(node.inputs[0], latest[node] - 1), latest[node])
        for node in nodes
        if node.op == "norm"
    ]
    return Plan(
        equations,
        nodes,
        count,
        latest,
        gates,
        x_gates,
        values,
        [made_in[node] for node in values],
        products,
        norms,
    )


def is_output(node: Node) -> bool:
    """Return whether a node is h before the step, which products read in place."""
    return node.op == "state" and node.data == 0


def _of_states_alone(nodes: list[Node]) -> set[Node]:
    """Return the products that the first stage can compute: those that depend only on states.

    The previous step computes their opening values; it does not see the parameters.
    """
    alone: set[Node] = set()
    products: set[Node] = set()
    for node in nodes:
        if node.op == "product" and node.inputs[0] in alone:
            products.add(node)
        elif node.op in ("state", "const") or (
            node.op in POINTWISE and alone.issuperset(node.inputs)
        ):
            alone.add(node)
    return products


def _gates(
    equations: Equations, nodes: list[Node], stage: dict[Node, int]
) -> tuple[list[Gate], int, list[list[Node]]]:
    """Return the gates in the engine's order, the number with an input part, and the products.

    Gates with an input part come first, and of these the input itself comes last. The gates of a
    product follow each other if possible, so that it stays one product.
    """
    sums = _sums(equations, nodes)
    inputs = [node for node in nodes if node.op in ("x", "input")]
    alone = [node for node in inputs if node not in sums]
    recurrent_of = {x: h for x, (h, _) in sums.items()}
    input_of = {h: x for x, h in recurrent_of.items()}

    groups: dict[tuple[int, int], list[Node]] = {}
    for node in nodes:
        if node.op == "product":
            groups.setdefault((stage[node], node.inputs[0].number), []).append(node)
    in_order = [sorted(groups[key], key=lambda h: h.item) for key in sorted(groups)]

    def size_across(group: list[Node]) -> int:
        both = sum(h in input_of for h in group)
        return len(group) if 0 < both < len(group) else 0

    across = max((group for group in in_order if size_across(group)), key=size_across, default=[])
    others = [group for group in in_order if group is not across]
    with_x = [h for group in [*others, across] for h in group if h in input_of]
    without_x = [h for group in [across, *others] for h in group if h not in input_of]

    order: list[Node] = sorted((x for x in alone if x.op == "x"), key=lambda x: x.item)
    order += [input_of[h] for h in with_x if input_of[h].op == "x"]
    order += [x for x in inputs if x.op == "input"]
    gates = [Gate(x, *sums[x]) if x in sums else Gate(x, None, x) for x in order]
    gates += [Gate(None, h, h) for h in without_x]
    return gates, len(order), in_order


def _sums(equations: Equations, nodes: list[Node]) -> dict[Node, tuple[Node, Node]]:
    """Return the product and the sum for each input part that is only used in a sum with one."""
    by_node = users(nodes)
    found = {}
    for node in nodes:
        if node.op != "add":
            continue
        x, h = sorted(node.inputs, key=lambda one: one.op == "product")
        alone = all(by_node[one] == [node] and one not in equations.results for one in (x, h))
        if x.op in ("x", "input") and h.op == "product" and alone:
            found[x] = (h, node)
    return found


def _runs(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first number and the size of each run of consecutive numbers."""
    in_order = sorted(places)
    first = 0
    for k in range(1, len(in_order) + 1):
        if k == len(in_order) or in_order[k] != in_order[k - 1] + 1:
            yield in_order[first], k - first
            first = k
