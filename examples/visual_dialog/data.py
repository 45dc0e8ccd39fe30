"""Dialogs about a scene, in which most questions say "it", "them", "the left one" or "the other".

What these words mean follows from the turns before. There is a group of things that was spoken of
last, of which "the left one" is one, and there may be a single thing, which is "it". A scene has
many groups, and the words of a question do not tell which one is meant: of four things two are
big, and mostly two have one colour and two another, and so with shapes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from examples.scenes import COLOURS, SHAPES, SIZES, Scene, Thing, arrange

ROUNDS = 6
THINGS = 4  # of each scene
ANSWERS = (*COLOURS, *SHAPES, "0", "1", "2", "3", "yes", "no")
SIDES = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
VALUES = {"colour": tuple(COLOURS), "shape": SHAPES, "size": tuple(SIZES)}
QUESTIONS = {"colour": "what colour is {}", "shape": "what shape is {}", "size": "is {} big"}


class Turn(NamedTuple):
    """A question of a dialog.

    Attributes:
        kind: "count", "of them", "one of them", "the other" or "it"; only the first of these can be
            answered without the turns before.
        question: Its text.
        answer: One of ANSWERS.
    """

    kind: str
    question: str
    answer: str


def make_scene(rng: random.Random) -> Scene:
    """Return four things, of which several share each of the attributes."""
    colours, shapes = (_some_alike(VALUES[name], rng) for name in ("colour", "shape"))
    sizes = rng.sample(2 * VALUES["size"], THINGS)
    return arrange([*zip(shapes, colours, sizes, strict=True)], rng)


def _some_alike(values: Sequence[str], rng: random.Random) -> list[str]:
    """Return a value for each thing: mostly two that are alike and two others that are, too."""
    first, second, third = rng.sample(values, 3)
    rest = rng.choice([[first, second], [second, third], *[[second, second]] * 4])
    return rng.sample([first, first, *rest], THINGS)


def make_dialog(scene: Scene, rng: random.Random) -> list[Turn]:
    """Return a dialog of ROUNDS turns about a scene."""
    talk = Talk(scene, rng)
    return [talk.turn() for _ in range(ROUNDS)]


class Talk:
    """A dialog about a scene that goes on.

    Attributes:
        scene: The things.
        group: Those that were counted last; a count of none changes nothing.
        it: The one thing that was spoken of last, if it was one.
        asked: The attribute of it that the last question was about, or "".
        told: The attributes of things that the answers have told, which nobody asks for again.
    """

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene, self._rng = scene, rng
        self.group: list[Thing] = []
        self.it: Thing | None = None
        self.asked = ""
        self.told: set[tuple[Thing, str]] = set()

    def turn(self) -> Turn:
        """Return the next turn, which refers to those before if there is such a one."""
        ways = [self._the_other, self._about_it, self._one_of_them, self._of_them]
        if self._rng.random() < 0.4:
            self._rng.shuffle(ways)
        return next((turn for turn in (way() for way in ways) if turn), None) or self._count()

    def _count(self) -> Turn:
        attribute = self._rng.choice([*QUESTIONS])
        fresh = [
            getattr(thing, attribute) for thing in self.scene if (thing, attribute) not in self.told
        ]
        value = self._rng.choice(fresh if fresh and self._rng.random() < 0.9 else VALUES[attribute])
        found = self._speak_of(self.scene, attribute, value)
        return Turn("count", f"how many {_plural(value)}", str(found))

    def _of_them(self) -> Turn | None:
        """Count some of the group, with each number that is possible equally often."""
        counts: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for attribute in QUESTIONS:
            if not all((thing, attribute) in self.told for thing in self.group):
                for value in sorted({getattr(thing, attribute) for thing in self.scene}):
                    count = sum(getattr(thing, attribute) == value for thing in self.group)
                    counts[count].append((attribute, value))
        if len(self.group) < 2 or not counts:
            return None
        attribute, value = self._rng.choice(counts[self._rng.choice(sorted(counts))])
        found = self._speak_of(self.group, attribute, value)
        return Turn("of them", f"how many of them are {_plural(value)}", str(found))

    def _speak_of(self, things: Sequence[Thing], attribute: str, value: str) -> int:
        """Go on with those of the things that have a value, and return how many they are."""
        found = [thing for thing in things if getattr(thing, attribute) == value]
        if found:
            self.group, self.it = found, found[0] if len(found) == 1 else None
            self.told |= {(thing, attribute) for thing in found}
        self.asked = ""
        return len(found)

    def _one_of_them(self) -> Turn | None:
        for side in self._rng.sample([*SIDES], len(SIDES)):
            for thing in self.group:
                others = [other for other in self.group if other is not thing]
                if others and all(thing.is_clearly(SIDES[side], other) for other in others):
                    turn = self._ask("one of them", f"the {side} one", thing)
                    if turn:
                        return turn
        return None

    def _about_it(self) -> Turn | None:
        return self._ask("it", "it", self.it) if self.it else None

    def _ask(self, kind: str, name: str, thing: Thing) -> Turn | None:
        """Ask for an attribute of a thing that was not told yet, or for the one asked last."""
        unknown = [attribute for attribute in QUESTIONS if (thing, attribute) not in self.told]
        if not unknown:
            return None
        if kind == "one of them" and self.asked in unknown and self._rng.random() < 0.7:
            return Turn(kind, f"and {name}", self._tell(thing))
        self.asked = self._rng.choice(unknown)
        return Turn(kind, QUESTIONS[self.asked].format(name), self._tell(thing))

    def _the_other(self) -> Turn | None:
        if not (self.it and self.asked and len(self.group) == 2):
            return None
        first, second = self.group
        other = second if self.it is first else first
        if (other, self.asked) in self.told:
            return None
        return Turn("the other", "and the other", self._tell(other))

    def _tell(self, thing: Thing) -> str:
        """Speak of a thing, and return the answer to what was asked about it."""
        self.it = thing
        self.told.add((thing, self.asked))
        if self.asked == "size":
            return "yes" if thing.size == "big" else "no"
        return str(getattr(thing, self.asked))


def _plural(value: str) -> str:
    """Return the word for several things with a value: that for their shape, or an adjective."""
    if value not in SHAPES:
        return value
    return f"{value}es" if value == "cross" else f"{value}s"
