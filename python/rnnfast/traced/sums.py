"""Sums of several terms put in the order that costs least.

An input's part and a product that are only ever seen in their sum are one gate. In `x + p * c + h`
nobody adds x to h, but with (x + h) + p * c it is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from rnnfast.traced.graph import Equations, Graph, Node, users

Term: TypeAlias = "tuple[bool, Node]"
"""Something that a sum adds, or subtracts if the first is true."""


class Regrouped(NamedTuple):
    """A sum in another order.

    Attributes:
        pairs: inputs' parts with products, to be added first.
        rest: the other terms, in their order.
    """

    pairs: list[tuple[Node, Node]]
    rest: list[Term]

    def total(self, graph: Graph, copies: Mapping[Node, Node]) -> Node:
        """The sum of the copies of its terms."""
        sums = [graph.node("add", copies[x], copies[h]) for x, h in self.pairs]
        result = sums[0]
        for one in sums[1:]:
            result = graph.node("add", result, one)
        for subtracted, node in self.rest:
            result = graph.node("sub" if subtracted else "add", result, copies[node])
        return result


def regrouped(
    equations: Equations, nodes: Sequence[Node]
) -> tuple[dict[Node, Regrouped], set[Node]]:
    """The sums that are better added in another order, and the partial sums that they have no more.

    Args:
        equations: a step.
        nodes: what its new states are made of.
    """
    by_node = users(nodes)

    def alone(node: Node) -> bool:
        """Whether a node is an input of one node, once."""
        found = by_node[node]
        is_result = node in equations.results
        return not is_result and len(found) == 1 and found[0].inputs.count(node) == 1

    partial = {
        node for node in nodes if _is_sum(node) and alone(node) and _is_sum(by_node[node][0])
    }
    sums: dict[Node, Regrouped] = {}
    gone: set[Node] = set()
    for node in nodes:
        if not _is_sum(node) or node in partial:
            continue
        terms, within = _terms(node, partial)
        added = [one for subtracted, one in terms if not subtracted and alone(one)]
        inputs = [one for one in added if one.op in ("x", "input")]
        products = [one for one in added if one.op == "product"]
        pairs = list(zip(inputs, products, strict=False))
        together = [x for x in inputs if any(h in products for h in by_node[x][0].inputs)]
        if len(pairs) > len(together):
            paired = {one for pair in pairs for one in pair}
            sums[node] = Regrouped(pairs, [term for term in terms if term[1] not in paired])
            gone |= within
    return sums, gone


def _is_sum(node: Node) -> bool:
    return node.op in ("add", "sub")


def _terms(node: Node, partial: set[Node]) -> tuple[list[Term], set[Node]]:
    """The terms of a sum, in the order in which they are written, and its partial sums."""
    terms: list[Term] = []
    within: set[Node] = set()
    todo: list[Term] = [(False, node)]
    while todo:
        subtracted, one = todo.pop()
        if one is node or one in partial:
            within.add(one)
            a, b = one.inputs
            todo.append((subtracted != (one.op == "sub"), b))
            todo.append((subtracted, a))
        else:
            terms.append((subtracted, one))
    return terms, within - {node}
