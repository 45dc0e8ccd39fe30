"""Scenes and their pictures, and the questions of vqa: answers are right, and balanced."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

from examples import scenes, vision  # noqa: E402
from examples.vqa import data  # noqa: E402
from examples.vqa.model import Answerer  # noqa: E402


def made(count: int, seed: int = 0) -> list[scenes.Scene]:
    rng = random.Random(seed)
    return [data.make_scene(rng) for _ in range(count)]


def test_things_lie_in_the_picture_and_do_not_touch() -> None:
    for scene in made(300):
        for i, thing in enumerate(scene):
            assert all(t.radius < c < scenes.SIDE - t.radius for t in (thing,) for c in (t.x, t.y))
            assert all(
                np.hypot(thing.x - other.x, thing.y - other.y) > thing.radius + other.radius
                for other in scene[:i]
            )


def test_a_thing_is_drawn_where_it_is_and_nothing_elsewhere() -> None:
    every = made(200)
    images = scenes.draw(every, np.random.default_rng(0)).astype(float) / 255
    assert images.shape == (200, 3, scenes.SIDE, scenes.SIDE)
    for scene, image in zip(every, images, strict=True):
        saturation = image.max(axis=0) - image.min(axis=0)
        pixels = np.arange(scenes.SIDE) + 0.5
        far = np.ones((scenes.SIDE, scenes.SIDE), bool)
        for thing in scene:
            middle = image[:, int(thing.y), int(thing.x)]
            expected = np.array(scenes.COLOURS[thing.colour]) * thing.shade
            assert np.abs(middle - expected).max() < 6 * scenes.NOISE
            far &= np.hypot(pixels - thing.x, pixels[:, None] - thing.y) > thing.radius + 1
        assert np.median(saturation[far]) < 0.4


@pytest.mark.parametrize(("shape", "share"), [
    ("circle", np.pi * 0.9**2), ("square", 1.44**2), ("triangle", 0.75 * 3**0.5), ("cross", 2.04),
])  # fmt: skip
@pytest.mark.parametrize("angle", [0.0, 1.0])
def test_a_shape_covers_its_area(shape: str, share: float, angle: float) -> None:
    thing = scenes.Thing(shape, "red", "big", 20.2, 19.7, 8.0, angle, 1.0)
    covered = scenes._coverage([thing]).sum()
    assert covered == pytest.approx(share * 64, rel=0.03)


def answer(scene: scenes.Scene, question: str) -> str:
    """Answer a question from its words, as one who looks at the scene would."""
    words = question.split()

    def those(name: list[str]) -> list[scenes.Thing]:
        wanted = set(name) - {"the", "thing", "things", "a"}
        return [t for t in scene if wanted <= {t.shape, t.colour}]

    if words[:2] == ["how", "many"]:
        return str(len(those(words[2:3])))
    if words[:2] == ["is", "there"]:
        return "yes" if those(words[2:]) else "no"
    beside = re.fullmatch(r"what (colour|shape) is the thing (.*?) the (.*)", question)
    if beside:
        (anchor,) = those(beside[3].split())
        gaps = {
            "left of": lambda t: anchor.x - t.x,
            "right of": lambda t: t.x - anchor.x,
            "above": lambda t: anchor.y - t.y,
            "below": lambda t: t.y - anchor.y,
        }
        (found,) = (t for t in scene if gaps[beside[2]](t) > 0)
        return str(getattr(found, beside[1]))
    (found,) = those(words[-2:])
    return found.colour if "colour" in words[:4] else found.shape


def test_answers_are_those_of_the_words() -> None:
    every = made(300)
    asked = data.ask(every, random.Random(0), balance=False)
    assert {one.kind for one in asked} == set(data.ANSWERS)
    for one in asked:
        assert one.answer == answer(every[one.scene], one.question), one
        assert one.answer in data.ANSWERS[one.kind]


def test_each_question_has_all_its_answers_equally_often() -> None:
    every = made(3000)
    asked = data.ask(every, random.Random(0), balance=True)
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in asked:
        answers[one.kind, one.question][one.answer] += 1
    for (kind, _), counts in answers.items():
        assert set(counts) == set(data.ANSWERS[kind])
        assert len(set(counts.values())) == 1
    assert {kind for kind, _ in answers} == set(data.ANSWERS)
    assert set(asked) <= set(data.ask(every, random.Random(0), balance=False))


def test_the_target_of_the_eye_is_where_a_thing_is() -> None:
    every = made(50)
    for scene, target in zip(every, vision.what_is_where(every), strict=True):
        found = []
        for row, column in target[0].nonzero().tolist():
            _, shape, colour, size, across, down = target[:, row, column].tolist()
            where = [(column + 0.5 + across) * vision.CELL, (row + 0.5 + down) * vision.CELL]
            kinds = scenes.SHAPES, [*scenes.COLOURS], [*scenes.SIZES]
            named = [k[int(i)] for k, i in zip(kinds, (shape, colour, size), strict=True)]
            found.append((*named, *np.round(where, 3)))
        true = [(t.shape, t.colour, t.size, *np.round([t.x, t.y], 3)) for t in scene]
        assert sorted(found) == sorted(true)


def test_a_thing_on_the_border_of_two_places_is_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = torch.full((1, sum(vision.PARTS), vision.PLACES, vision.PLACES), -9.0)
    told[0, -2:] = 0.0
    told[0, 0, 3, 4:6] = torch.tensor([-0.4, 0.0])  # both places see it on their common border
    told[0, -2, 3, 4:6] = torch.tensor([0.49, -0.49])
    told[0, 0, 7, 5] = 3.0
    channels = torch.rand(1, vision.CHANNELS, vision.PLACES, vision.PLACES)
    monkeypatch.setattr(vision.Eye, "forward", lambda *_: (channels, told))
    images = np.zeros((1, 3, scenes.SIDE, scenes.SIDE), np.uint8)
    things = vision.Eye().things(images, 3)[0]
    sides = (things[:, -3:-1] + 1) * vision.PLACES / 2
    torch.testing.assert_close(sides[:2], torch.tensor([[5.5, 7.5], [5.01, 3.5]]))
    torch.testing.assert_close(things[:2, :-3], channels[0, :, [7, 3], [5, 5]].T)
    sure = told[0, 0].sigmoid()
    torch.testing.assert_close(things[:2, -1], torch.stack([sure[7, 5], sure[3, 4:6].sum()]))
    assert things[2, -1] < 0.001


def test_the_eye_learns_from_the_first_part_and_looks_at_all() -> None:
    torch.manual_seed(0)
    learned, others = made(64), made(3, seed=1)
    parts = vision.see([learned, others], 10, np.random.default_rng(0))
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    images, other_images = scenes.draw(learned, generator), scenes.draw(others, generator)
    eye = vision.train_eye(learned, images, 10)
    for (pictures, things), expected in zip(parts, (images, other_images), strict=True):
        np.testing.assert_array_equal(pictures, expected)
        torch.testing.assert_close(things, eye.things(expected, 3))


@torch.no_grad()
def test_an_answer_depends_on_the_picture_only_if_the_network_looks() -> None:
    torch.manual_seed(0)
    pictures = scenes.draw(made(2), np.random.default_rng(0))
    things = vision.Eye().eval().things(pictures, 3)
    assert things.shape == (2, 3, vision.FEATURES)
    questions = torch.tensor([[2, 2], [3, 3], [0, 0]])
    for looks in (True, False):
        first, second = Answerer(5, 7, looks)(things, questions)
        assert torch.equal(first, second) != looks


@torch.no_grad()
def test_an_answer_does_not_depend_on_the_order_of_things_nor_on_padding() -> None:
    torch.manual_seed(0)
    things = vision.Eye().eval().things(scenes.draw(made(3), np.random.default_rng(0)), 3)
    network = Answerer(5, 7, looks=True)
    questions = torch.tensor([[2, 3, 4], [3, 2, 0]])
    expected = network(things, questions)
    padded = torch.cat([questions, torch.zeros(1, 3, dtype=torch.int64)])
    torch.testing.assert_close(network(things.flip(1), padded), expected)
