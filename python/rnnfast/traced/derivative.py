"""The gradients of a step, stage by stage from the last to the first.

This is reverse-mode differentiation on the graph. The gradients are nodes of the same graph, built
from nodes of the step and from new leaves: the gradients that a stage receives (`GIVEN`).

The gradient of a node is complete in the stage that owns the node, which runs after all later
stages. Contributions of later stages travel in numbered places that outlive a stage ("dslot").
States and parameters have no stage: every stage adds to their gradients and recomputes the nodes
that it needs from them. A mask
has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rnnfast.traced.graph import Graph, Node
from rnnfast.traced.stages import OPENING, Plan

GIVEN = ("dnext", "dmade", "dsource", "dslot", "dstate", "dparam")
"""Leaves: gradients of the new states, of values and of normalised values, and the contributions of
later stages to other gradients."""

Target = tuple[str, int]


class Backward(NamedTuple):
    """The gradients of a step.

    Attributes:
        stages: For each stage, the places that it writes and the nodes that it writes there.
        opening: The same for the program of opening values.
        dslots: Number of gradients that travel between stages.
    """

    stages: list[list[tuple[Target, Node]]]
    opening: list[tuple[Target, Node]]
    dslots: int


def differentiate(plan: Plan) -> Backward:
    """Return the gradients of all stages of a step."""
    travelling: dict[Node, int] = {}
    stages = [_Stage(plan, k, travelling).gradients() for k in reversed(range(plan.stages))]
    opening = _Stage(plan, OPENING, travelling).gradients() if OPENING in plan.made_in else []
    return Backward(stages[::-1], opening, len(travelling))


class _Stage:
    """The gradients of one stage.

    Args:
        plan: The stages of the step.
        stage: The number of the stage.
        travelling: The place of each gradient that travels, by node. It contains the gradients of
            later stages; this stage adds its own.
    """

    def __init__(self, plan: Plan, stage: int, travelling: dict[Node, int]) -> None:
        self._plan = plan
        self._stage = stage
        self._travelling = travelling
        self._arrived = set(travelling)
        self._graph = plan.equations.graph
        self._gradient: dict[Node, Node] = {}

    def gradients(self) -> list[tuple[Target, Node]]:
        """Return the places that the stage writes, with the nodes that it writes there."""
        self._start()
        gates = {gate.node: g for g, gate in enumerate(self._plan.gates)}
        for node in reversed(self._plan.nodes):
            if node in self._gradient and self._is_here(node) and node not in gates:
                for one, term in _terms(self._graph, node, self._gradient[node]):
                    self._add(one, term)
        owned = [g for node, g in gates.items() if self._plan.stage[node] == self._stage]
        zero = self._graph.const(0)
        found: list[tuple[Target, Node]] = [
            (("dgate", g), self._gradient.get(self._plan.gates[g].node, zero))
            for g in sorted(owned)
        ]
        found += [
            (("dnorm", k), self._gradient.get(norm.node, zero))
            for k, norm in enumerate(self._plan.norms)
            if norm.used_by == self._stage
        ]
        found += self._travellers()
        for node in self._plan.nodes:
            if node.op in ("state", "param"):
                found += self._of_item(node)
        if self._stage == self._plan.last:
            written = {target for target, _ in found}
            everything = [("dstate", k) for k in range(self._plan.equations.states)]
            found += [(target, zero) for target in everything if target not in written]
        return found

    def _start(self) -> None:
        """Add the gradients that the stage receives."""
        for node, place in self._travelling.items():
            if self._plan.stage[node] == self._stage:
                self._add(node, self._graph.node("dslot", data=place))
        if self._stage == self._plan.last:
            for k, node in enumerate(self._plan.equations.results):
                self._add(node, self._graph.node("dnext", data=k))
        for k, node in self._plan.values_of(self._stage):
            self._add(node, self._graph.node("dmade", data=k))
        for k, norm in enumerate(self._plan.norms):
            if norm.made_by == self._stage:
                self._add(norm.operand, self._graph.node("dsource", data=k))

    def _is_here(self, node: Node) -> bool:
        return self._plan.stage.get(node, self._stage) == self._stage

    def _add(self, node: Node, term: Node) -> None:
        before = self._gradient.pop(node, None)
        gradient = term if before is None else _sum(self._graph, before, term)
        if node.op not in ("const", "mask") and gradient.constant != 0:
            self._gradient[node] = gradient

    def _travellers(self) -> list[tuple[Target, Node]]:
        """Return the gradients of nodes of earlier stages, including those of later stages."""
        found = []
        for node in self._plan.nodes:
            if node in self._gradient and not self._is_here(node):
                place = self._travelling.setdefault(node, len(self._travelling))
                gradient = self._gradient[node]
                if node in self._arrived:
                    gradient = self._graph.add(self._graph.node("dslot", data=place), gradient)
                found.append((("dslot", place), gradient))
        return found

    def _of_item(self, node: Node) -> list[tuple[Target, Node]]:
        """Return the gradient of a state or a parameter, including that of later stages."""
        place = f"d{node.op}"
        gradient = self._gradient.get(node)
        if self._stage == self._plan.last:
            return [((place, node.item), gradient or self._graph.const(0))]
        if gradient is None:
            return []
        before = self._graph.node(place, data=node.item)
        return [((place, node.item), self._graph.add(before, gradient))]


def _sum(graph: Graph, a: Node, b: Node) -> Node:
    """Return a + b, but factor out a common gradient, as in d - d * z.

    d * (1 - z) is exact if z is close to 1, like a gate that keeps its state.
    """
    for gradient, factor in _multiples(graph, a):
        for other, of_other in _multiples(graph, b):
            if gradient is other:
                return graph.mul(gradient, graph.add(factor, of_other))
    return graph.add(a, b)


def _multiples(graph: Graph, node: Node) -> list[tuple[Node, Node]]:
    """Return the pairs (gradient, factor) whose product is the node."""
    plain = node.inputs[0] if node.op == "neg" else node
    pairs = [(plain, graph.const(1))]
    if plain.op == "mul":
        pairs.append((plain.inputs[0], plain.inputs[1]))
    return [(g, graph.neg(factor) if plain is not node else factor) for g, factor in pairs]


def _terms(graph: Graph, node: Node, g: Node) -> list[tuple[Node, Node]]:
    """Return the contributions of the gradient g of a node to the gradients of its inputs."""
    return _RULES[node.op](graph, node, g) if node.op in _RULES else []


_Rule = Callable[[Graph, Node, Node], list[tuple[Node, Node]]]


def _with_one_input(slope: Callable[[Graph, Node, Node, Node], Node]) -> _Rule:
    """Return the rule of a function y of one input, whose gradient is slope(graph, g, y, input)."""
    return lambda graph, y, g: [(y.inputs[0], slope(graph, g, y, y.inputs[0]))]


def _slope_of_sigmoid(graph: Graph, g: Node, y: Node, _v: Node) -> Node:
    return graph.mul(g, graph.mul(y, graph.sub(graph.const(1), y)))


def _slope_of_tanh(graph: Graph, g: Node, y: Node, _v: Node) -> Node:
    return graph.mul(g, graph.sub(graph.const(1), graph.mul(y, y)))


def _slope_of_abs(graph: Graph, g: Node, _y: Node, v: Node) -> Node:
    zero = graph.const(0)
    return graph.sub(graph.select(v, g, zero), graph.select(graph.neg(v), g, zero))


def _slope_of_power(graph: Graph, g: Node, y: Node, v: Node) -> Node:
    assert isinstance(y.data, float)
    return graph.mul(g, graph.mul(graph.const(y.data), graph.power(v, y.data - 1)))


def _mul(graph: Graph, y: Node, g: Node) -> list[tuple[Node, Node]]:
    a, b = y.inputs
    return [(a, graph.mul(g, b)), (b, graph.mul(g, a))]


def _div(graph: Graph, y: Node, g: Node) -> list[tuple[Node, Node]]:
    a, b = y.inputs
    to_a = graph.div(g, b)
    return [(a, to_a), (b, graph.neg(graph.mul(to_a, y)))]


def _extreme(graph: Graph, y: Node, g: Node) -> list[tuple[Node, Node]]:
    """Return the gradients of a maximum or minimum; the first input takes it if they are equal."""
    a, b = y.inputs
    second = graph.apply("greater", *((b, a) if y.op == "max" else (a, b)))
    zero = graph.const(0)
    return [(a, graph.select(second, zero, g)), (b, graph.select(second, g, zero))]


def _select(graph: Graph, y: Node, g: Node) -> list[tuple[Node, Node]]:
    condition, a, b = y.inputs
    zero = graph.const(0)
    return [(a, graph.select(condition, g, zero)), (b, graph.select(condition, zero, g))]


_RULES: dict[str, _Rule] = {
    "neg": _with_one_input(lambda graph, g, _y, _v: graph.neg(g)),
    "add": lambda _graph, y, g: [(y.inputs[0], g), (y.inputs[1], g)],
    "sub": lambda graph, y, g: [(y.inputs[0], g), (y.inputs[1], graph.neg(g))],
    "mul": _mul,
    "div": _div,
    "power": _with_one_input(_slope_of_power),
    "sigmoid": _with_one_input(_slope_of_sigmoid),
    "tanh": _with_one_input(_slope_of_tanh),
    "relu": _with_one_input(lambda graph, g, y, _v: graph.select(y, g, graph.const(0))),
    "exp": _with_one_input(lambda graph, g, y, _v: graph.mul(g, y)),
    "log": _with_one_input(lambda graph, g, _y, v: graph.div(g, v)),
    "sqrt": _with_one_input(lambda graph, g, y, _v: graph.div(graph.mul(graph.const(0.5), g), y)),
    "abs": _with_one_input(_slope_of_abs),
    "softplus": _with_one_input(lambda graph, g, _y, v: graph.mul(g, graph.apply("sigmoid", v))),
    "max": _extreme,
    "min": _extreme,
    "select": _select,
}
"""The rule by which each function propagates a gradient; a comparison propagates none."""
