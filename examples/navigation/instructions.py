"""Instructions in words for a route: its doors, and where it turns and stops.

"Go through the blue door then turn left at the second lamp, walk two steps and stop": what a clause
counts comes after the clause before it. A route is at a thing that is next to it: ahead, to the
left or to the right.
"""

from __future__ import annotations

import re

import numpy as np

from examples.common import Integers
from examples.navigation.worlds import (
    COLOURS,
    DOOR,
    FORWARD,
    LEFT,
    SIGHT,
    STOP,
    THINGS,
    WALL,
    names_of,
)

MIDDLE = SIGHT // 2  # of each row of a view
ORDINALS = ("", "second ", "third ")
STEPS = ("", "one step", "two steps", "three steps", "four steps", "five steps", "six steps")
WALKS = ("go", "walk", "move")
LINKS = (", ", " then ", ", then ", " and then ")
PASSES = (
    "{walk} through the {colour}door",
    "pass through the {colour}door",
    "take the {colour}door",
)
TURNS_AT_ONCE = ("turn {side}", "face {side}", "first turn {side}")
COUNTED_TURNS = (
    "{walk} {steps} and turn {side}",
    "after {steps} turn {side}",
    "turn {side} after {steps}",
)
TURNS = (
    "turn {side} at {place}",
    "at {place} turn {side}",
    "take a {side} at {place}",
    "{walk} to {place} and turn {side}",
    "when you are at {place} turn {side}",
)
STOPS = (
    "stop at {place}",
    "at {place} stop",
    "wait at {place}",
    "{walk} to {place} and stop",
    "halt when you are at {place}",
)
COUNTED_SHARE = 0.2  # of the turns at something that could be named


def split(text: str) -> list[str]:
    """Return the words and commas of a text."""
    return re.findall(r"\w+|,", text)


_TEMPLATES = (*PASSES, *TURNS_AT_ONCE, *COUNTED_TURNS, *TURNS, *STOPS)
_PARTS = (*ORDINALS, *STEPS, *WALKS, *LINKS, *COLOURS, *THINGS, "left", "right", "the wall")
WORDS = sorted(set(split(" ".join((*_PARTS, *(re.sub("{.*?}", "", t) for t in _TEMPLATES))))))


class Writer:
    """Writes an instruction along a path, clause by clause.

    Args:
        generator: Source of the wording.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.clauses: list[str] = []
        self.met: list[list[int]] = []  # the things at each cell since the last clause

    def walk(self, view: Integers) -> None:
        """Note what is at the cell that is reached, or write of the door there."""
        here = int(view[0, MIDDLE])
        if here >= DOOR:
            self._write(PASSES, colour=self._pick(("", f"{names_of(here)[0]} ")))
        else:
            self.met.append(_things(view))

    def turn(self, view: Integers, side: str) -> bool:
        """Write of a turn, and return whether there were words for it."""
        places = self._places(view) if self.met else []
        if not self.met:
            self._write(TURNS_AT_ONCE, side=side)
        elif places and self.generator.random() > COUNTED_SHARE:
            self._write(TURNS, side=side, place=self._pick(places))
        elif len(self.met) < len(STEPS):
            self._write(COUNTED_TURNS, side=side, steps=STEPS[len(self.met)])
        else:
            return False
        return True

    def stop(self, view: Integers) -> bool:
        """Write of the end, and return whether anything is there to name."""
        places = self._places(view)
        if places:
            self._write(STOPS, place=self._pick(places))
        return bool(places)

    def text(self) -> str:
        """Return the instruction."""
        first, *others = self.clauses
        return first + "".join(self._pick(LINKS) + clause for clause in others)

    def _pick(self, choices: tuple[str, ...] | list[str]) -> str:
        return choices[self.generator.integers(len(choices))]

    def _write(self, templates: tuple[str, ...], **names: str) -> None:
        self.clauses.append(self._pick(templates).format(walk=self._pick(WALKS), **names))
        self.met = []

    def _places(self, view: Integers) -> list[str]:
        """Return the names of this place: the wall ahead, and things of which only one is here."""
        places = ["the wall"] if view[1, MIDDLE] == WALL else []
        for here in self.met[-1]:
            for part in (0, 1):  # the name with and without the colour
                name = names_of(here)[part:]
                met = [
                    [names_of(code)[part:] for code in things].count(name) for things in self.met
                ]
                if met[-1] == 1 and sum(met) <= len(ORDINALS):
                    places.append(f"the {ORDINALS[sum(met) - 1]}{' '.join(name)}")
        return places


def _things(view: Integers) -> list[int]:
    """Return the codes of the things ahead, to the left and to the right."""
    cells = (view[1, MIDDLE], view[0, MIDDLE - 1], view[0, MIDDLE + 1])
    return [int(code) for code in cells if code >= DOOR]


def describe(views: Integers, actions: Integers, generator: np.random.Generator) -> str:
    """Return the instruction for a path, or an empty text where words fail.

    Args:
        views: What is seen before each action, (T, SIGHT, SIGHT).
        actions: The actions (T,), up to STOP.
        generator: Source of the wording.
    """
    writer = Writer(generator)
    for t, action in enumerate(actions):
        if action == STOP:
            return writer.text() if writer.stop(views[t]) else ""
        if action == FORWARD:
            writer.walk(views[t + 1])
        elif not writer.turn(views[t], "left" if action == LEFT else "right"):
            return ""
    return ""
