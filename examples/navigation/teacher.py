"""The teacher: the number of moves that are left to a target, and the next of them.

Sizes: B agents, each in a world of its own. The axes of distances are those of the agent, its row,
column and heading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from examples.common import Integers
from examples.navigation.worlds import FORWARD, HEADINGS, LEFT, RIGHT, SIZE, STOP, move, passable

FAR = 100  # moves to a target that cannot be reached
Distances = NDArray[np.int8]


def moves_left(worlds: Integers, targets: Integers) -> Distances:
    """Return how many moves and turns are left to a target, (B, SIZE, SIZE, 4), at most FAR.

    Args:
        worlds: Codes of the cells, (B, SIZE, SIZE).
        targets: Row and column of the cell to reach, (B, 2), with any heading.
    """
    free = passable(worlds)
    left = np.full((len(worlds), SIZE, SIZE, 4), FAR, np.int8)
    rows, columns = targets.T
    left[np.arange(len(worlds)), rows, columns] = 0
    while True:
        nearest = np.minimum(np.roll(left, 1, axis=3), np.roll(left, -1, axis=3))
        for heading, (row, column) in enumerate(HEADINGS):
            ahead = np.roll(left[..., heading], (-row, -column), axis=(1, 2))
            nearest[..., heading] = np.minimum(nearest[..., heading], ahead)
        better = np.where(free[..., None], np.minimum(left, nearest + 1), FAR).astype(np.int8)
        if np.array_equal(better, left):
            return left
        left = better


def left_at(left: Distances, states: Integers) -> Integers:
    """Return the moves that are left at states (B, 3)."""
    rows, columns, headings = states.T
    found: Integers = left[np.arange(len(left)), rows, columns, headings].astype(np.int64)
    return found


def advice(worlds: Integers, left: Distances, states: Integers, turns: Integers) -> Integers:
    """Return the next action of a shortest path, (B,); on the target it is STOP.

    It is FORWARD rather than a turn, and the turn of `turns`, (B,), rather than the other one.
    """
    here = left_at(left, states)
    found = np.full(len(worlds), STOP)
    for actions in (LEFT + RIGHT - turns, turns, np.full(len(worlds), FORWARD)):
        after = move(worlds, states, actions)
        found = np.where((here > 0) & (left_at(left, after) < here), actions, found)
    return found
