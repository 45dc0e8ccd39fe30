"""Programs: the instructions that compute nodes, in an order that needs few temporaries."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from rnnfast.traced.graph import Graph, Node
from rnnfast.traced.instructions import Operation, fused, plain
from rnnfast.traced.places import Place, Root

Instruction: TypeAlias = "tuple[str | int, ...]"
"""The operation, then the kind and index of the place that it writes and of each operand."""
Program: TypeAlias = "tuple[Instruction, ...]"
_CONSTANT: Place = ("constant", -1)  # a constant that may not have a number yet


class Constants:
    """The constants of a cell, numbered in the order of their first use."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def place(self, value: float) -> Place:
        """Return the place of a constant."""
        if value not in self.values:
            self.values.append(value)
        return ("constant", self.values.index(value))


def write(
    graph: Graph,
    roots: Sequence[Root],
    place: Callable[[Node], Place | None],
    constants: Constants,
) -> Program:
    """Return the program that writes the roots.

    Args:
        graph: The graph of all nodes; rewritten expressions are added to it.
        roots: The places that the program writes, with the nodes that it writes there.
        place: Returns the place of a node before the program; None if the program computes it.
        constants: The constants of the cell; those of the program are added.
    """
    return _Writer(graph, roots, place, constants).program()


class _Writer:
    """A writer of one program.

    A node is computed right before its first use, starting with the operand that needs more
    temporaries, and straight into its place if it is a root. If that place has yet to be read, the
    new value stays in a temporary until then.
    """

    def __init__(
        self,
        graph: Graph,
        roots: Sequence[Root],
        place: Callable[[Node], Place | None],
        constants: Constants,
    ) -> None:
        self._graph = graph
        self._place_before = place
        self._constants = constants
        self._roots = sorted(roots, key=lambda root: root[1].number)
        self._targets: dict[Node, list[Place]] = {}
        for target, node in self._roots:
            self._targets.setdefault(node, []).append(target)
        self._operations = self._choose()
        self._uses = Counter(one for op in self._operations.values() for one in op.operands)
        self._readers = Counter(
            self._known(one) for op in self._operations.values() for one in op.operands
        )
        self._readers.update(self._known(node) for _, node in self._roots)
        self._at: dict[Node, Place] = {}
        self._pending: list[Root] = []
        self._free: list[int] = []
        self._temporaries = 0
        self._program: list[Instruction] = []

    def program(self) -> Program:
        """Return the instructions."""
        for node in self._in_order():
            self._compute(node)
        self._pending += [root for root in self._roots if self._known(root[1]) is not None]
        self._write_pending()
        assert not self._pending, f"{self._pending} were not written"
        return tuple(self._program)

    def _known(self, node: Node) -> Place | None:
        """Return the place of a node before the program; None if the program computes it."""
        return _CONSTANT if node.op == "const" else self._place_before(node)

    def _place(self, node: Node) -> Place:
        """Return the current place of a node."""
        if node.constant is not None:
            return self._constants.place(node.constant)
        return self._known(node) or self._at[node]

    def _choose(self) -> dict[Node, Operation]:
        """Return the operation of each computed node; nodes fused into others have none."""
        alone = self._reached(partial(plain, self._graph))
        uses = Counter(one for op in alone.values() for one in op.operands)

        def once(node: Node) -> bool:
            return uses[node] == 1 and node not in self._targets and node in alone

        return self._reached(partial(fused, self._graph, once=once))

    def _reached(self, choose: Callable[[Node], Operation]) -> dict[Node, Operation]:
        """Return the operations of all nodes that the roots need, in topological order."""
        operations: dict[Node, Operation] = {}
        done: dict[Node, Operation] = {}
        todo = [node for _, node in reversed(self._roots)]
        while todo:
            node = todo.pop()
            if node in done or self._known(node) is not None:
                continue
            if node in operations:
                done[node] = operations[node]
                continue
            operations[node] = choose(node)
            todo.append(node)
            todo.extend(reversed(operations[node].operands))
        return done

    def _in_order(self) -> list[Node]:
        """Return the computed nodes in the order of the program."""
        height: dict[Node, int] = {}
        for node, op in self._operations.items():
            needs = sorted((height.get(one, 0) for one in op.operands), reverse=True)
            height[node] = max(1, *(need + k for k, need in enumerate(needs)))
        order: dict[Node, None] = {}
        begun: set[Node] = set()
        todo = [node for _, node in reversed(self._roots)]
        while todo:
            node = todo.pop()
            if node in order or node not in self._operations:
                continue
            if node in begun:
                order[node] = None
                continue
            begun.add(node)
            todo.append(node)
            todo.extend(sorted(self._operations[node].operands, key=lambda one: height.get(one, 0)))
        return list(order)

    def _compute(self, node: Node) -> None:
        """Write the instruction that computes a node."""
        op = self._operations[node]
        places = [self._place(one) for one in op.operands]
        for one in op.operands:
            self._readers[self._known(one)] -= 1
            self._used(one)
        targets = self._targets.get(node, [])
        ready = [target for target in targets if not self._readers[target]]
        self._at[node] = ready[0] if ready else self._temporary()
        self._emit(op.name, self._at[node], places)
        for target in targets:
            if target != self._at[node]:
                self._uses[node] += 1
                self._pending.append((target, node))
        self._write_pending()

    def _write_pending(self) -> None:
        """Copy pending values to places that will not be read any more."""
        ready = [root for root in self._pending if not self._readers[root[0]]]
        while ready:
            for target, node in ready:
                self._pending.remove((target, node))
                self._emit("copy", target, [self._place(node)])
                self._readers[self._known(node)] -= 1
                self._used(node)
            ready = [root for root in self._pending if not self._readers[root[0]]]

    def _used(self, node: Node) -> None:
        """Count a use of a node, and free its temporary after the last one."""
        self._uses[node] -= 1
        kind, number = self._at.get(node, _CONSTANT)
        if not self._uses[node] and kind == "tmp":
            heapq.heappush(self._free, number)

    def _temporary(self) -> Place:
        if not self._free:
            heapq.heappush(self._free, self._temporaries)
            self._temporaries += 1
        return ("tmp", heapq.heappop(self._free))

    def _emit(self, name: str, target: Place, operands: list[Place]) -> None:
        self._program.append((name, *target, *(part for place in operands for part in place)))
