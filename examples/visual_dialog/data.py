"""Dialogs about a scene, in which most questions say "it", "the left one" or "the other".

What these words mean follows from the turns before. There is a group of things that was spoken of
last, of which "the left one" is one, and there may be a single thing, which is "it".
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

from examples.scenes import COLOURS, SHAPES, SIZES, Kind, Scene, Thing, arrange

ROUNDS = 6
ANSWERS = (*COLOURS, *SHAPES, "0", "1", "2", "3", "yes", "no")
SIDES = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
QUESTIONS = {
    "colour": "what colour is {}",
    "shape": "what shape is {}",
    "size": "is {} big",
}


class Turn(NamedTuple):
    """A question of a dialog.

    Attributes:
        kind: "count", "one of them", "the other" or "it"; only the first of these can be answered
            without the turns before.
        question: Its text.
        answer: One of ANSWERS.
    """

    kind: str
    question: str
    answer: str


def make_scene(rng: random.Random) -> Scene:
    """Return three things, of which some are alike in shape or colour."""
    kinds: list[Kind] = []
    for _ in range(3):
        alike = rng.choice(kinds) if kinds else ("", "", "")
        shape = alike[0] if kinds and rng.random() < 0.5 else rng.choice(SHAPES)
        colour = alike[1] if kinds and rng.random() < 0.5 else rng.choice(list(COLOURS))
        kinds.append((shape, colour, rng.choice(list(SIZES))))
    return arrange(kinds, rng)


def make_dialog(scene: Scene, rng: random.Random) -> list[Turn]:
    """Return a dialog of ROUNDS turns about a scene."""
    talk = Talk(scene, rng)
    return [talk.turn() for _ in range(ROUNDS)]


class Talk:
    """A dialog about a scene that goes on.

    Attributes:
        scene: The things.
        group: Those that were counted last; a count of none changes nothing.
        shared: The attributes that the group is known to have.
        it: The one thing that was spoken of last, if it was one.
        known: The attributes that it is known to have.
        asked: The attribute of it that the last question was about, or "".
    """

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene, self._rng = scene, rng
        self.group: list[Thing] = []
        self.it: Thing | None = None
        self.shared: set[str] = set()
        self.known: set[str] = set()
        self.asked = ""

    def turn(self) -> Turn:
        """Return the next turn, which mostly refers to those before, if there is such a one."""
        ways = [self._one_of_them, self._the_other, self._about_it]
        self._rng.shuffle(ways)
        if self._rng.random() < 0.1:
            return self._count()
        return next((turn for turn in (way() for way in ways) if turn), None) or self._count()

    def _count(self) -> Turn:
        attribute = self._rng.choice(list(QUESTIONS))
        values = {"colour": list(COLOURS), "shape": SHAPES, "size": list(SIZES)}[attribute]
        present = [getattr(thing, attribute) for thing in self.scene]
        value = self._rng.choice(present if self._rng.random() < 0.8 else values)
        found = [thing for thing in self.scene if getattr(thing, attribute) == value]
        plural = "crosses" if value == "cross" else f"{value}s"
        word = plural if attribute == "shape" else value
        if found:
            self.group, self.shared, self.known = found, {attribute}, {attribute}
            self.it = found[0] if len(found) == 1 else None
        self.asked = ""
        return Turn("count", f"how many {word}", str(len(found)))

    def _one_of_them(self) -> Turn | None:
        for side in self._shuffled(SIDES):
            for thing in self.group:
                others = [other for other in self.group if other is not thing]
                if others and all(thing.is_clearly(SIDES[side], other) for other in others):
                    self.it, self.known = thing, self.shared
                    return self._attribute("one of them", f"the {side} one")
        return None

    def _about_it(self) -> Turn | None:
        return self._attribute("it", "it") if self.it else None

    def _attribute(self, kind: str, name: str) -> Turn | None:
        """Ask for an attribute of it that is not known yet."""
        unknown = [attribute for attribute in QUESTIONS if attribute not in self.known]
        if not unknown or not self.it:
            return None
        self.asked = self._rng.choice(unknown)
        self.known = self.known | {self.asked}
        return Turn(kind, QUESTIONS[self.asked].format(name), _value(self.it, self.asked))

    def _the_other(self) -> Turn | None:
        if not (self.it and self.asked and len(self.group) == 2):
            return None
        first, second = self.group
        self.it = second if self.it is first else first
        turn = Turn("the other", "and the other", _value(self.it, self.asked))
        self.known, self.asked = self.shared | {self.asked}, ""
        return turn

    def _shuffled(self, names: Iterable[str]) -> list[str]:
        names = list(names)
        return self._rng.sample(names, len(names))


def _value(thing: Thing, attribute: str) -> str:
    """Return the answer to a question of QUESTIONS about a thing."""
    if attribute == "size":
        return "yes" if thing.size == "big" else "no"
    return str(getattr(thing, attribute))
