"""Choice of the fewest nodes to keep, as a minimum cut (Ford and Fulkerson 1956)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from rnnfast.traced.graph import Node

_Point = tuple[int, bool]  # a node's number, and whether it is the node's far side
_SOURCE, _SINK = (-1, False), (-2, False)
_ENOUGH = 1 << 30


def fewest(
    wanted: Iterable[Node],
    is_known: Callable[[Node], bool],
    may_keep: Callable[[Node], bool],
) -> list[Node]:
    """Return the fewest nodes that, with the known ones, suffice to compute all wanted nodes.

    If several choices are equally small, the result is the one that leaves the least to compute.

    Args:
        wanted: The nodes to compute.
        is_known: Whether a node is available anyway.
        may_keep: Whether a node may be chosen.

    Returns:
        The choice, in the order of the nodes' numbers.
    """
    network = _Network()
    nodes: dict[int, Node] = {}
    todo = [node for node in wanted if not is_known(node)]
    for node in todo:
        network.connect((node.number, True), _SINK, _ENOUGH)
    while todo:
        node = todo.pop()
        if node.number in nodes:
            continue
        nodes[node.number] = node
        near, far = (node.number, False), (node.number, True)
        network.connect(near, far, 1 if may_keep(node) else _ENOUGH)
        inputs = [] if node.op in ("product", "norm") else node.inputs
        for one in inputs:
            if not is_known(one):
                network.connect((one.number, True), near, _ENOUGH)
                todo.append(one)
        if not inputs:
            network.connect(_SOURCE, near, _ENOUGH)
    while network.augment():
        pass
    behind = network.reaching_sink()
    cut = [n for n in nodes if (n, True) in behind and (n, False) not in behind]
    return [nodes[number] for number in sorted(cut)]


class _Network:
    """The residual capacities between points."""

    def __init__(self) -> None:
        self._left: dict[_Point, dict[_Point, int]] = {_SOURCE: {}, _SINK: {}}

    def connect(self, a: _Point, b: _Point, capacity: int) -> None:
        self._left.setdefault(a, {})[b] = capacity
        self._left.setdefault(b, {}).setdefault(a, 0)

    def augment(self) -> bool:
        """Send one more unit from the source to the sink; return whether a path exists."""
        came_from: dict[_Point, _Point] = {_SOURCE: _SOURCE}
        queue = deque([_SOURCE])
        while queue and _SINK not in came_from:
            point = queue.popleft()
            for onward, left in self._left[point].items():
                if left and onward not in came_from:
                    came_from[onward] = point
                    queue.append(onward)
        if _SINK not in came_from:
            return False
        point = _SINK
        while point != _SOURCE:
            before = came_from[point]
            self._left[before][point] -= 1
            self._left[point][before] += 1
            point = before
        return True

    def reaching_sink(self) -> set[_Point]:
        """Return the points from which more flow could reach the sink."""
        found = {_SINK}
        todo = [_SINK]
        while todo:
            point = todo.pop()
            for before in self._left[point]:
                if before not in found and self._left[before][point]:
                    found.add(before)
                    todo.append(before)
        return found
