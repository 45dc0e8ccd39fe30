"""Routes through worlds: where each starts, what is left to its target, and its instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from examples.common import Integers
from examples.navigation.instructions import describe
from examples.navigation.teacher import Distances, advice, moves_left
from examples.navigation.worlds import (
    CODES,
    COLOURS,
    DOOR,
    FREE,
    LEFT,
    RIGHT,
    SIZE,
    THINGS,
    code_of,
    make_world,
    move,
    views,
)

SHORTEST, LONGEST = 6, 16  # moves of a route


@dataclass(frozen=True)
class Routes:
    """B routes, each with its own copy of a world.

    Attributes:
        worlds: Codes of the cells, (B, SIZE, SIZE).
        starts: States at the start, (B, 3).
        left: Moves that are left to the target, (B, SIZE, SIZE, 4).
        turns: LEFT or RIGHT, (B,): the turn that the teacher takes where both are as good.
        texts: The instruction of each.
    """

    worlds: Integers
    starts: Integers
    left: Distances
    turns: Integers
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, chosen: Integers) -> Routes:
        return Routes(
            self.worlds[chosen],
            self.starts[chosen],
            self.left[chosen],
            self.turns[chosen],
            [self.texts[i] for i in chosen],
        )

    def advice(self, states: Integers) -> Integers:
        """Return what the teacher does at states (B, 3)."""
        return advice(self.worlds, self.left, states, self.turns)

    def varied(self, generator: np.random.Generator) -> Routes:
        """Return the routes with other colours and objects, and half of the time in a mirror.

        Each colour becomes another one, or stays, and so does each kind of objects. The texts
        change as the worlds do.
        """
        colours = generator.permutation(len(COLOURS))
        things = [0, *1 + generator.permutation(len(THINGS) - 1)]  # doors are doors
        codes = np.arange(CODES)
        codes[DOOR:] = np.concatenate([code_of(thing, colours) for thing in things])
        names = {THINGS[old]: THINGS[new] for old, new in enumerate(things)}
        names |= {COLOURS[old]: COLOURS[new] for old, new in enumerate(colours)}
        routes = replace(self, worlds=codes[self.worlds])
        if generator.random() < 0.5:
            routes = routes._mirrored()
            names |= {"left": "right", "right": "left"}
        texts = [re.sub(r"\w+", lambda m: names.get(m[0], m[0]), text) for text in self.texts]
        return replace(routes, texts=texts)

    def _mirrored(self) -> Routes:
        """Return the routes with left and right exchanged everywhere but in the texts."""
        row, column, heading = self.starts.T
        return replace(
            self,
            worlds=self.worlds[:, :, ::-1],
            starts=np.stack([row, SIZE - 1 - column, -heading % 4], axis=1),
            left=self.left[:, :, ::-1, [0, 3, 2, 1]],
            turns=LEFT + RIGHT - self.turns,
        )


def make_routes(worlds: int, each: int, generator: np.random.Generator) -> Routes:
    """Return routes through new worlds, at most `each` a world: not all can be told in words.

    Every route is a shortest path to a random target.
    """
    copies = np.repeat([make_world(generator) for _ in range(worlds)], each, axis=0)
    left = moves_left(copies, np.array([_one_of(world == FREE, generator) for world in copies]))
    possible = (left >= SHORTEST) & (left <= LONGEST)
    reached = np.flatnonzero(possible.any(axis=(1, 2, 3)))
    starts = np.array([_one_of(possible[i], generator) for i in reached])
    turns = generator.choice([LEFT, RIGHT], size=len(reached))
    routes = Routes(copies[reached], starts, left[reached], turns, [""] * len(reached))
    paths = zip(*shortest_paths(routes), strict=True)
    texts = [describe(seen, actions, generator) for seen, actions in paths]
    return replace(routes, texts=texts)[np.array([i for i, text in enumerate(texts) if text])]


def shortest_paths(routes: Routes) -> tuple[Integers, Integers]:
    """Return the views (B, LONGEST + 1, SIGHT, SIGHT) on the teacher's paths, and its actions.

    The actions, (B, LONGEST + 1), end in STOP, once or more.
    """
    states, seen, actions = routes.starts, [], []
    for _ in range(LONGEST + 1):
        seen.append(views(routes.worlds, states))
        actions.append(routes.advice(states))
        states = move(routes.worlds, states, actions[-1])
    return np.stack(seen, axis=1), np.stack(actions, axis=1)


def _one_of(possible: NDArray[np.bool_], generator: np.random.Generator) -> Integers:
    """Return the indices of a random element that is true."""
    places = np.argwhere(possible)
    chosen: Integers = places[generator.integers(len(places))]
    return chosen
