"""Questions of five kinds about scenes, with as many of each answer as of any other, or not.

In a world where most circles are red, who is asked for the colour of a circle need not look: "red"
is right more often than not. So `balanced` cuts the questions about such a world: of each question,
word for word, it keeps an equal number with each of its possible answers. Then no function of the
question alone is right more often than by chance.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from examples.scenes import COLOURS, SHAPES, SIZES, Kind, Scene, Thing, arrange

RELATIONS = ("left of", "right of", "above", "below")
ANSWERS = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "count": ("0", "1", "2", "3"),
    "existence": ("yes", "no"),
    "colour beside": tuple(COLOURS),
    "shape beside": SHAPES,
}
FAVOURITES = dict(zip(SHAPES, COLOURS, strict=False))  # colours that shapes have more often


class Asked(NamedTuple):
    """A question about a scene.

    Attributes:
        scene: The number of the scene.
        kind: One of the keys of ANSWERS.
        question: Its text.
        answer: One of ANSWERS of its kind.
    """

    scene: int
    kind: str
    question: str
    answer: str


def make_scene(rng: random.Random) -> Scene:
    """Return two or three things, of which some are alike in shape or colour."""
    kinds: list[Kind] = []
    for _ in range(rng.choice((2, 3, 3))):
        alike = rng.choice(kinds) if kinds else ("", "", "")
        shape = alike[0] if kinds and rng.random() < 0.35 else rng.choice(SHAPES)
        colour = FAVOURITES[shape] if rng.random() < 0.3 else rng.choice(list(COLOURS))
        colour = alike[1] if kinds and rng.random() < 0.35 else colour
        kinds.append((shape, colour, rng.choice(list(SIZES))))
    return arrange(kinds, rng)


def questions(scene: Scene, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Yield questions about a scene: the kind, the text and the answer of each."""
    shapes = [thing.shape for thing in scene]
    colours = [thing.colour for thing in scene]
    for shape in SHAPES:
        yield "count", f"how many {shape} things are there", str(shapes.count(shape))
    for colour in COLOURS:
        yield "count", f"how many {colour} things are there", str(colours.count(colour))
    for thing in scene:
        if shapes.count(thing.shape) == 1:
            ask = rng.choice(("what colour is the {}", "what is the colour of the {}"))
            yield "colour", ask.format(thing.shape), thing.colour
        if colours.count(thing.colour) == 1:
            ask = rng.choice(("what shape is the {} thing", "what is the {} thing"))
            yield "shape", ask.format(thing.colour), thing.shape
    for shape in sorted(set(shapes)):
        for colour in sorted(set(colours)):  # both are there, but on one thing?
            answer = "yes" if (shape, colour) in zip(shapes, colours, strict=True) else "no"
            yield "existence", f"is there a {colour} {shape}", answer
    for thing in scene:
        others = [other for other in scene if other is not thing]
        for relation in RELATIONS:
            beside = [other.is_clearly(relation, thing) for other in others]
            if len(others) > 1 and None not in beside and beside.count(True) == 1:
                found = others[beside.index(True)]
                for name in names_of(thing, scene):
                    where = f"the thing {relation} the {name}"
                    yield "colour beside", f"what colour is {where}", found.colour
                    yield "shape beside", f"what shape is {where}", found.shape


def names_of(thing: Thing, scene: Scene) -> list[str]:
    """Return the names that one thing of a scene has alone: its shape, its colour, or both."""
    by_shape = [other for other in scene if other.shape == thing.shape]
    by_colour = [other for other in scene if other.colour == thing.colour]
    names = [thing.shape] if len(by_shape) == 1 else []
    return names + ([f"{thing.colour} thing"] if len(by_colour) == 1 else [])


def balanced(asked: Sequence[Asked], rng: random.Random) -> list[Asked]:
    """Return, of each question, an equal number with each answer that its kind has."""
    groups: dict[tuple[str, str], dict[str, list[Asked]]] = defaultdict(lambda: defaultdict(list))
    for one in asked:
        groups[one.kind, one.question][one.answer].append(one)
    kept: list[Asked] = []
    for (kind, _), by_answer in groups.items():
        least = min(len(by_answer[answer]) for answer in ANSWERS[kind])
        for answer in ANSWERS[kind]:
            kept += rng.sample(by_answer[answer], least)
    return kept


def ask(scenes: Sequence[Scene], rng: random.Random, balance: bool) -> list[Asked]:
    """Return all questions about scenes, or a balanced part of them."""
    asked = [Asked(i, *one) for i, scene in enumerate(scenes) for one in questions(scene, rng)]
    return balanced(asked, rng) if balance else asked
