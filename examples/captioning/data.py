"""Scenes with the one sentence that describes each, and pairs of things that are held out.

The rule of the sentence leaves no choice, so that a caption is right or wrong:

- one thing: "a big red circle";
- things that are all alike: "two small blue squares side by side", "three small blue squares";
- two things: the bigger one first, or else the left or upper one, and where it is: "a big red
  circle above a small blue cross". It is above or below if the other one is further away down or up
  than across;
- three things of which two are alike: "two small blue squares and a big red circle";
- three things that differ: from left to right, without their sizes: "a red circle , a blue cross
  and a red square".

Scenes in which a rule would depend on a pixel or two have no caption, and are left out.
"""

from __future__ import annotations

import random
from itertools import combinations

from examples.scenes import CLEAR, COLOURS, SHAPES, SIZES, Kind, Scene, Thing, arrange

SHARE_HELD_OUT = 0.2  # of pairs of things


class Captions:
    """Scenes with captions, of which some pairs of things are only in the test.

    Args:
        seed: Decides which pairs of a colour and a shape are held out together.

    Attributes:
        held_out: Pairs of (colour, shape), each sorted.
    """

    def __init__(self, seed: int) -> None:
        kinds = [(colour, shape) for colour in sorted(COLOURS) for shape in sorted(SHAPES)]
        pairs = list(combinations(kinds, 2))
        self._rng = random.Random(seed)
        chosen = self._rng.sample(pairs, int(SHARE_HELD_OUT * len(pairs)))
        self.held_out = {frozenset(pair) for pair in chosen}

    def make(self, new: bool) -> tuple[Scene, str]:
        """Return a scene with a new pair of things, one that is held out, or without any."""
        while True:
            scene = arrange(self._kinds(), self._rng)
            found = {(thing.colour, thing.shape) for thing in scene}
            pairs = map(frozenset, combinations(found, 2))
            sentence = caption(scene)
            if sentence and new == any(pair in self.held_out for pair in pairs):
                return scene, sentence

    def _kinds(self) -> list[Kind]:
        """Return the kinds of one to three things, of which some are alike."""
        rng = self._rng
        kinds: list[Kind] = []
        for _ in range(rng.choice((1, 2, 2, 2, 3, 3))):
            new = rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(list(SIZES))
            kinds.append(rng.choice(kinds) if kinds and rng.random() < 0.3 else new)
        return kinds


def caption(scene: Scene) -> str | None:
    """Return the sentence that describes a scene, or None if it is not clear."""
    groups: dict[Kind, list[Thing]] = {}
    for thing in scene:
        groups.setdefault((thing.shape, thing.colour, thing.size), []).append(thing)
    if len(groups) == 3:
        return _row(scene)
    if len(scene) == 2:
        first, second = sorted(scene, key=lambda thing: thing.size)
        return _two(first, second, alike=len(groups) == 1)
    largest_first = sorted(groups.values(), key=len, reverse=True)
    return " and ".join(_group(group) for group in largest_first)


def _group(things: list[Thing]) -> str:
    """Return the name of things that are alike."""
    first = things[0]
    number = ("a", "two", "three")[len(things) - 1]
    plural = "" if len(things) == 1 else "es" if first.shape == "cross" else "s"
    return f"{number} {first.size} {first.colour} {first.shape}{plural}"


def _two(first: Thing, second: Thing, alike: bool) -> str | None:
    """Describe two things, of which the first is bigger if one of them is."""
    across, down = abs(first.x - second.x), abs(first.y - second.y)
    if abs(across - down) < CLEAR:
        return None
    if alike:
        place = "side by side" if across > down else "one above the other"
        return f"{_group([first, second])} {place}"
    relations = ("left of", "right of") if across > down else ("above", "below")
    if first.size == second.size and not first.is_clearly(relations[0], second):
        first, second = second, first
    relation = relations[0] if first.is_clearly(relations[0], second) else relations[1]
    return f"{_group([first])} {relation} {_group([second])}"


def _row(scene: Scene) -> str | None:
    """Describe three things from left to right."""
    one, two, three = sorted(scene, key=lambda thing: thing.x)
    if not (one.is_clearly("left of", two) and two.is_clearly("left of", three)):
        return None
    names = [f"a {thing.colour} {thing.shape}" for thing in (one, two, three)]
    return f"{names[0]} , {names[1]} and {names[2]}"
