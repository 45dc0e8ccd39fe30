"""The example visual_dialog: answers follow from the turns before, which the network sees."""

from __future__ import annotations

import random
import sys
from itertools import pairwise
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


def value(thing: scenes.Thing, attribute: str) -> str:
    return {
        "colour": thing.colour,
        "shape": thing.shape,
        "big": ["no", "yes"][thing.size == "big"],
    }[attribute]


def answers(scene: scenes.Scene, questions: list[str]) -> list[str]:
    """Answer the questions of a dialog from their words, as one who looks at the scene would."""
    group: list[scenes.Thing] = []
    it: scenes.Thing | None = None
    attribute, given = "", []
    for question in questions:
        words = question.split()
        if words[:2] == ["how", "many"]:
            names = {words[2], words[2].removesuffix("s"), words[2].removesuffix("es")}
            found = [t for t in scene if names & {t.shape, t.colour, t.size}]
            if found:
                group, it = found, found[0] if len(found) == 1 else None
            given.append(str(len(found)))
            continue
        if question == "and the other":
            (it,) = (t for t in group if t is not it)
        else:
            attribute = "big" if words[-1] == "big" else words[1]
            side = next((side for side in AXES if f"the {side} one" in question), "")
            it = min(group, key=lambda t: along(t, side)) if side else it
        assert it is not None
        given.append(value(it, attribute))
    return given


def test_answers_are_those_of_the_words() -> None:
    rng = random.Random(0)
    kinds = set()
    for _ in range(1000):
        scene = data.make_scene(rng)
        dialog = data.make_dialog(scene, rng)
        assert len(dialog) == data.ROUNDS
        assert [turn.answer for turn in dialog] == answers(scene, [t.question for t in dialog])
        assert {turn.answer for turn in dialog} <= set(data.ANSWERS)
        kinds |= {turn.kind for turn in dialog}
    assert kinds == {"count", "one of them", "the other", "it"}


def test_a_question_does_not_ask_for_what_was_said() -> None:
    rng = random.Random(0)
    for _ in range(1000):
        dialog = data.make_dialog(data.make_scene(rng), rng)
        for before, turn in pairwise(dialog):
            if before.kind == "count" and before.answer != "0" and turn.kind == "one of them":
                said = before.question.split()[-1]
                asked = "size" if turn.question.endswith("big") else turn.question.split()[1]
                of_shape = [f"{name}s" for name in data.SHAPES] + ["crosses"]
                kind = "shape" if said in of_shape else "colour" if said in data.COLOURS else "size"
                assert asked != kind


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
