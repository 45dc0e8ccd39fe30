"""The example captioning: its sentences describe the scenes, and those of the test are new."""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

from examples import scenes, vision  # noqa: E402
from examples.captioning.__main__ import search, take_step, write  # noqa: E402
from examples.captioning.data import Captions, caption  # noqa: E402
from examples.captioning.model import Captioner  # noqa: E402
from examples.reading import Words  # noqa: E402


def thing(name: str, x: float, y: float) -> scenes.Thing:
    size, colour, shape = name.split()
    return scenes.Thing(shape, colour, size, x, y, 4.5 if size == "small" else 7.0, 0.0, 1.0)


@pytest.mark.parametrize(("things", "expected"), [
    ([("small red circle", 20, 20)], "a small red circle"),
    ([("small red circle", 9, 20), ("small red circle", 30, 22)],
     "two small red circles side by side"),
    ([("big red cross", 9, 9), ("big red cross", 12, 30)],
     "two big red crosses one above the other"),
    ([("small red circle", 9, 9), ("big red circle", 12, 30)],
     "a big red circle below a small red circle"),
    ([("small red circle", 9, 9), ("big red circle", 30, 14)],
     "a big red circle right of a small red circle"),
    ([("small red circle", 30, 9), ("small blue cross", 9, 14)],
     "a small blue cross left of a small red circle"),
    ([("small red circle", 30, 9), ("small blue cross", 9, 28)], None),
    ([("small red circle", 9, 9), ("big blue cross", 20, 20), ("small red circle", 9, 30)],
     "two small red circles and a big blue cross"),
    ([("small cyan square", 9, 9), ("small cyan square", 20, 20), ("small cyan square", 9, 30)],
     "three small cyan squares"),
    ([("small red circle", 30, 9), ("big blue cross", 20, 20), ("small green square", 9, 30)],
     "a green square , a blue cross and a red circle"),
    ([("small red circle", 10, 9), ("big blue cross", 20, 20), ("small green square", 9, 30)],
     None),
])  # fmt: skip
def test_the_sentence_follows_the_rule(
    things: list[tuple[str, float, float]], expected: str | None
) -> None:
    scene = tuple(thing(*one) for one in things)
    assert caption(scene) == caption(scene[::-1]) == expected


def test_a_sentence_names_the_things_of_its_scene() -> None:
    captions = Captions(seed=0)
    numbers = {"a": 1, "two": 2, "three": 3}
    for i in range(400):
        scene, sentence = captions.make(new=bool(i % 2))
        found = re.findall(r"(a|two|three) ((?:big |small )?)(\w+) (\w+)", sentence)
        named = [
            (colour, re.sub("(?<=cross)es$|(?<!s)s$", "", shape))
            for number, _, colour, shape in found
            for _ in range(numbers[number])
        ]
        assert sorted(named) == sorted((t.colour, t.shape) for t in scene), sentence


def test_pairs_and_sentences_of_the_test_are_not_in_the_training() -> None:
    captions = Captions(seed=1)
    assert len(captions.held_out) == 55  # a fifth of the 276 pairs of 24 kinds
    pairs, sentences = [], []
    for new in (False, True):
        every = [captions.make(new) for _ in range(1500)]
        sentences.append({sentence for _, sentence in every})
        pairs.append([
            {frozenset(p) for p in combinations({(t.colour, t.shape) for t in scene}, 2)}
            for scene, _ in every
        ])  # fmt: skip
    assert not sentences[0] & sentences[1]
    assert not any(found & captions.held_out for found in pairs[0])
    assert all(found & captions.held_out for found in pairs[1])
    assert {word for s in sentences[1] for word in s.split()} <= {
        word for s in sentences[0] for word in s.split()
    }


@torch.no_grad()
def test_one_step_after_the_other_gives_the_scores_of_one_call() -> None:
    torch.manual_seed(0)
    model = Captioner(9).double()
    things = torch.rand(3, 3, vision.FEATURES, dtype=torch.float64)
    words = torch.randint(1, 9, (4, 3))
    state = model.start(things)
    together, _ = model(words, state)
    for row, expected in zip(words, together, strict=True):
        scores, state = take_step(model, row.numpy(), state)
        torch.testing.assert_close(scores, expected)


@torch.no_grad()
def test_every_step_sees_the_picture() -> None:
    torch.manual_seed(0)
    model = Captioner(9)
    things, h, c = model.start(torch.rand(2, 3, vision.FEATURES))
    words = torch.ones(1, 2, dtype=torch.int64)
    for state in ((things, h, c), (things, h + 0.3, c - 0.2)):
        scores, _ = model(words, state)
        others, _ = model(words, (things + 1, *state[1:]))
        assert not torch.allclose(scores, others)


def test_sentences_end_before_the_end_token() -> None:
    words = Words(["a b c d", "b e"])
    assert words.encode(["a b .", "e ."]).T.tolist() == [[2, 3, 1], [6, 1, 0]]
    assert words.decode(np.array([2, 3, 1, 4])) == "a b"
    assert words.decode(np.array([2, 3])) == "a b"


def test_a_search_and_a_greedy_sentence_have_the_words_with_the_best_scores() -> None:
    torch.manual_seed(0)
    words = Words(["a b c d"])
    model = Captioner(len(words)).requires_grad_(False)
    model.readout.bias[:] = torch.tensor([0.0, 0, 50, 0, 0, 0])
    things = torch.rand(4, 3, vision.FEATURES)
    assert write(model, words, things, temperature=0) == search(model, words, things)
    assert write(model, words, things, temperature=0) == [" ".join("a" * 20)] * 4
