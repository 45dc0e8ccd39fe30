"""Worlds of nine rooms with coloured doors and objects, and an agent that sees a part of them.

A world is a square of cells. The agent stands on a free cell or in a door, faces one of four
headings, and moves forward or turns; walls and objects are in its way. Its view is egocentric: five
cells wide, its own row and four rows ahead, whatever stands between.

Sizes: B agents, each in a world of its own. The state of an agent is its row, column and heading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from examples.common import Integers

SIZE = 16  # cells of a world in each direction, with the walls around it
SIGHT = 5  # width and depth of a view
HEADINGS = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])  # up, right, down, left; rows and columns
COLOURS = ("red", "green", "blue", "yellow")
THINGS = ("door", "lamp", "chair", "plant")
FREE, WALL, DOOR = 0, 1, 2  # codes of cells; those of things follow each other, four colours each
OBJECT = DOOR + len(COLOURS)  # the first code that is neither a wall nor a door
CODES = DOOR + len(COLOURS) * len(THINGS)
FORWARD, LEFT, RIGHT, STOP = ACTIONS = range(4)
DENSITY = 0.2  # of objects in a room


def make_world(generator: np.random.Generator) -> Integers:
    """Return the codes of the cells of a new world, (SIZE, SIZE).

    Two walls in each direction make nine rooms of different sizes. Neighbours have a door between
    them, somewhere in their wall, or now and then none. No object stands beside a door.
    """
    things = generator.integers(OBJECT, CODES, size=(SIZE, SIZE))
    world = np.where(generator.random((SIZE, SIZE)) < DENSITY, things, FREE)
    lines = [[0, *generator.integers([4, 9], [7, 12]), SIZE - 1] for _ in range(2)]
    world[lines[0]] = WALL
    world[:, lines[1]] = WALL
    for axis, across in ((0, 1), (1, 0)):
        for wall in lines[axis][1:-1]:
            for start, end in zip(lines[across], lines[across][1:], strict=False):
                if generator.random() < 0.9:
                    place = np.array([wall, generator.integers(start + 1, end)])[[axis, across]]
                    world[tuple(place)] = generator.integers(DOOR, OBJECT)
                    beside = tuple((place + HEADINGS).T)
                    world[beside] = np.where(world[beside] >= OBJECT, FREE, world[beside])
    return world


def code_of(thing: int, colours: Integers) -> Integers:
    """Return the codes of a thing in colours, both by their numbers."""
    return DOOR + thing * len(COLOURS) + colours


def names_of(code: int) -> tuple[str, str]:
    """Return the colour and the name of a thing."""
    thing, colour = divmod(code - DOOR, len(COLOURS))
    return COLOURS[colour], THINGS[thing]


def passable(codes: Integers) -> NDArray[np.bool_]:
    """Return where cells can be entered: where they are free or doors."""
    free: NDArray[np.bool_] = (codes != WALL) & (codes < OBJECT)
    return free


def move(worlds: Integers, states: Integers, actions: Integers) -> Integers:
    """Return the states (B, 3) after actions (B,) in worlds (B, SIZE, SIZE).

    What is in the way keeps an agent where it is, and so does STOP.
    """
    after: Integers = states.copy()
    ahead = states[:, :2] + HEADINGS[states[:, 2]]
    rows, columns = ahead.T
    walks = (actions == FORWARD) & passable(worlds[np.arange(len(worlds)), rows, columns])
    after[walks, :2] = ahead[walks]
    after[:, 2] = (after[:, 2] + (actions == RIGHT) - (actions == LEFT)) % 4
    return after


def views(worlds: Integers, states: Integers) -> Integers:
    """Return the codes of the cells that agents see, (B, SIGHT, SIGHT).

    The first row is that of the agent, who stands in its middle; the others are ahead of it. Beyond
    the walls around a world there is more wall.
    """
    forward = HEADINGS[states[:, 2]][:, None, None]
    rightward = HEADINGS[(states[:, 2] + 1) % 4][:, None, None]
    depth = np.arange(SIGHT)[:, None, None]
    side = np.arange(SIGHT)[:, None] - SIGHT // 2
    cells = states[:, None, None, :2] + depth * forward + side * rightward
    cells = cells.clip(0, SIZE - 1)
    seen: Integers = worlds[np.arange(len(worlds))[:, None, None], cells[..., 0], cells[..., 1]]
    return seen
