"""Reordering of sums of several terms to save work.

An input part and a product that are only used in their sum form one gate. `x + p * c + h` does not
contain the sum of x and h, but (x + h) + p * c does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from rnnfast.traced.graph import Equations, Graph, Node, users

Term: TypeAlias = "tuple[bool, Node]"
"""A term of a sum, which is subtracted if the first item is true."""


class Regrouped(NamedTuple):
    """A sum in another order.

    Attributes:
        pairs: Pairs of an input part and a product, to be added first.
        rest: The other terms, in their order.
    """

    pairs: list[tuple[Node, Node]]
    rest: list[Term]

    def total(self, graph: Graph, copies: Mapping[Node, Node]) -> Node:
        """Return the sum of the copies of its terms."""
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
    """Return the sums to reorder, and the partial sums that are no longer needed.

    Args:
        equations: A step.
        nodes: The nodes that its new states depend on.
    """
    by_node = users(nodes)

    def alone(node: Node) -> bool:
        """Return whether a node is the input of just one node, and only once."""
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
    """Return the terms of a sum in the order in which they are written, and its partial sums."""
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
