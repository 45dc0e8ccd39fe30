"""The example visual_dialog: answers follow from the turns before, which the network sees."""

from __future__ import annotations

import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

from examples import scenes, vision  # noqa: E402
from examples.visual_dialog import data  # noqa: E402
from examples.visual_dialog.model import Talker  # noqa: E402

AXES = {"left": ("x", 1), "right": ("x", -1), "top": ("y", 1), "bottom": ("y", -1)}


def along(thing: scenes.Thing, side: str) -> float:
    axis, sign = AXES[side]
    return float(sign * getattr(thing, axis))


Fact = tuple[scenes.Thing, str]  # a thing, and the attribute of it that an answer tells


def replay(scene: scenes.Scene, questions: list[str]) -> list[tuple[str, set[Fact]]]:
    """Answer the questions of a dialog from their words, as one who looks at the scene would.

    With each answer comes what it tells.
    """
    group: list[scenes.Thing] = []
    it: scenes.Thing | None = None
    attribute = ""
    given: list[tuple[str, set[Fact]]] = []
    for question in questions:
        words = question.split()
        if words[:2] == ["how", "many"]:
            names = {words[-1], words[-1].removesuffix("s"), words[-1].removesuffix("es")}
            among = group if "of them" in question else scene
            found = [t for t in among if names & {t.shape, t.colour, t.size}]
            if found:
                group, it = found, found[0] if len(found) == 1 else None
            named = [
                n for n in ("shape", "colour", "size") for t in found if getattr(t, n) in names
            ]
            given.append((str(len(found)), set(zip(found, named, strict=True))))
            continue
        if question == "and the other":
            (it,) = (t for t in group if t is not it)
        else:
            if words[0] != "and":
                attribute = "size" if words[-1] == "big" else words[1]
            side = next((side for side in AXES if f"the {side} one" in question), "")
            it = min(group, key=lambda t: along(t, side)) if side else it
        assert it is not None
        found_value = getattr(it, attribute)
        answer = {"big": "yes", "small": "no"}.get(found_value, found_value)
        given.append((answer, {(it, attribute)}))
    return given


def test_answers_are_those_of_the_words_and_tell_something_new() -> None:
    rng = random.Random(0)
    kinds = set()
    for _ in range(1000):
        scene = data.make_scene(rng)
        dialog = data.make_dialog(scene, rng)
        assert len(dialog) == data.ROUNDS
        given = replay(scene, [turn.question for turn in dialog])
        told: set[Fact] = set()
        for turn, (answer, facts) in zip(dialog, given, strict=True):
            assert turn.answer == answer
            assert answer in data.ANSWERS
            assert turn.kind in ("count", "of them") or not facts & told
            told |= facts
            kinds.add(turn.kind)
    assert kinds == {"count", "of them", "one of them", "the other", "it"}


def test_without_the_turns_before_many_answers_are_a_guess() -> None:
    """The best guess is the most frequent answer to the same words about the same scene."""
    rng = random.Random(0)
    right, asked = Counter[str](), Counter[str]()
    for _ in range(30):
        scene = data.make_scene(rng)
        given: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for turn in (turn for _ in range(600) for turn in data.make_dialog(scene, rng)):
            given[turn.kind, turn.question][turn.answer] += 1
        for (kind, _), counts in given.items():
            right[kind] += max(counts.values())
            asked[kind] += counts.total()
    assert right["count"] == asked["count"]
    assert right.total() / asked.total() < 0.73
    assert right["the other"] / asked["the other"] < 0.3


@torch.no_grad()
@pytest.mark.parametrize("history", [True, False])
def test_a_turn_sees_the_turns_before_and_their_answers_only(history: bool) -> None:
    torch.manual_seed(0)
    network = Talker(6, len(data.ANSWERS), history)
    things = torch.rand(2, 4, vision.FEATURES)
    questions = torch.randint(2, 6, (5, 4, 2))
    said = torch.randint(len(data.ANSWERS), (4, 2))
    expected = network(things, questions, said)
    changed, other = questions.clone(), said.clone()
    changed[:, 2:] = 5 - questions[:, 2:] + 2
    other[2:] = (said[2:] + 1) % len(data.ANSWERS)
    torch.testing.assert_close(network(things, changed, other)[:2], expected[:2])
    other = said.clone()
    other[0] = (said[0] + 1) % len(data.ANSWERS)
    found = network(things, questions, other)
    torch.testing.assert_close(found[0], expected[0])
    assert torch.equal(found[1:], expected[1:]) != history
    alone = [network(things, questions[:, t : t + 1], said[t : t + 1])[0] for t in range(4)]
    assert torch.allclose(torch.stack(alone), expected, atol=1e-6) != history
