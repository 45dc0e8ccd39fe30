"""Visual question answering: a picture and a question in, an answer out.

    python -m examples.vqa

Pictures show two or three things of several shapes, colours and sizes. A convolutional network
finds the things, a GRU reads the question, and its last state decides what to look for in all pairs
of things. The data are balanced: each question, word for word, has all of its answers equally
often, so that the question alone tells nothing. The baseline is the same network without the
picture; it learns from questions that are not balanced, too, where it is right more often than by
chance, though it sees nothing.
"""

from __future__ import annotations

import random
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import cross_entropy

from examples.common import Run, read_options
from examples.learning import learn
from examples.reading import Words
from examples.scenes import Images
from examples.vision import see
from examples.vqa.data import ANSWERS, Asked, ask, make_scene
from examples.vqa.model import Answerer

EVERY_ANSWER = sorted({answer for answers in ANSWERS.values() for answer in answers})
SCENES, QUICK_SCENES = 12000, 4000  # to learn from
TEST_SCENES = 2000
EYE_STEPS, QUICK_EYE_STEPS = 1000, 300
STEPS, QUICK_STEPS = 1200, 450
BLIND_STEPS = 250  # of networks that see nothing
BATCH, RATE = 128, 3e-3
QUICK_BAR = 0.6  # mean accuracy of the kinds of questions that --quick reaches; chance is 0.26


@dataclass(frozen=True)
class Questions:
    """Questions as a network reads them.

    Attributes:
        asked: The questions.
        things: What the eye finds in each picture, (N, most, FEATURES).
        scenes: The number of each question's picture, (Q,).
        tokens: The words, (T, Q), with padding.
        answers: The answers as places in EVERY_ANSWER, (Q,).
        weights: Cumulative weights of the questions in training, by which all kinds are equally
            frequent, (Q,).
    """

    asked: Sequence[Asked]
    things: Tensor
    scenes: Tensor
    tokens: Tensor
    answers: Tensor
    weights: Tensor

    def scores(self, network: Answerer, chosen: Tensor) -> Tensor:
        """Return the scores of the answers to some of the questions."""
        return network(self.things[self.scenes[chosen]], self.tokens[:, chosen])

    def loss_of_batch(self, network: Answerer) -> Tensor:
        """Return the loss of a random batch."""
        chosen = torch.searchsorted(self.weights, self.weights[-1] * torch.rand(BATCH))
        return cross_entropy(self.scores(network, chosen), self.answers[chosen])

    def found_by(self, network: Answerer) -> list[str]:
        """Return the answers that a network finds."""
        parts = torch.arange(len(self.asked)).split(500)
        found = [self.scores(network, part).argmax(dim=1) for part in parts]
        return [EVERY_ANSWER[answer] for answer in torch.cat(found)]


def prepare(asked: Sequence[Asked], things: Tensor, words: Words) -> Questions:
    """Return questions about pictures as tensors."""
    counts = Counter(one.kind for one in asked)
    return Questions(
        asked,
        things,
        torch.tensor([one.scene for one in asked]),
        words.encode([one.question for one in asked]),
        torch.tensor([EVERY_ANSWER.index(one.answer) for one in asked]),
        torch.tensor([1 / counts[one.kind] for one in asked]).cumsum(dim=0),
    )


def shares_right(questions: Questions, found: Sequence[str]) -> dict[str, float]:
    """Return the accuracy of each kind of question."""
    right: dict[str, list[bool]] = {kind: [] for kind in ANSWERS}
    for one, answer in zip(questions.asked, found, strict=True):
        right[one.kind].append(one.answer == answer)
    return {kind: float(np.mean(values)) for kind, values in right.items()}


def mean(shares: dict[str, float]) -> float:
    """Return the mean accuracy, in which each kind of question counts the same."""
    return float(np.mean([*shares.values()]))


def draw_answers(
    run: Run,
    images: Images,
    questions: Questions,
    found: list[str],
    shares: dict[str, dict[str, float]],
) -> None:
    """Draw a picture for each kind of question, some wrong answers, and the accuracies."""
    picture = Figure(figsize=(11, 4.6))
    grid = picture.add_gridspec(2, 6, width_ratios=[1, 1, 1, 1, 0.3, 1.6], hspace=0.5)
    pairs = list(zip(questions.asked, found, strict=True))
    wrong = [pair for pair in pairs if pair[0].answer != pair[1]]
    right = [next(p for p in pairs if p[0].kind == kind and p not in wrong) for kind in ANSWERS]
    for i, (one, answer) in enumerate((right + wrong[:: len(wrong) // 2 + 1])[:8]):
        axes = picture.add_subplot(grid[divmod(i, 4)])
        axes.imshow(images[one.scene].transpose(1, 2, 0), interpolation="nearest")
        axes.axis("off")
        is_right = one.answer == answer
        axes.set_title(textwrap.fill(f"{one.question}?", 22), fontsize=8)
        said = answer if is_right else f"{answer} (is: {one.answer})"
        axes.text(20, 44, said, ha="center", va="center", color="k" if is_right else "r")
    axes = picture.add_subplot(grid[:, 5])
    for i, (name, values) in enumerate(shares.items()):
        places = np.arange(len(values)) + 0.27 * (i - 1)
        axes.barh(places, [*values.values()], 0.25, label=name, color=f"C{(0, 7, 1)[i]}")
    axes.set_yticks(range(len(ANSWERS)), ANSWERS, fontsize=8)
    axes.invert_yaxis()
    axes.set_title("right answers", fontsize=9)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.06))
    run.save(picture)


def main() -> None:
    """Train the eye, the network, and networks that see nothing, and compare them."""
    run = read_options(__package__, __doc__)
    torch.manual_seed(run.seed)
    rng, generator = random.Random(run.seed), np.random.default_rng(run.seed)
    scenes = [make_scene(rng) for _ in range(QUICK_SCENES if run.quick else SCENES)]
    test_scenes = [make_scene(rng) for _ in range(TEST_SCENES)]
    eye_steps = QUICK_EYE_STEPS if run.quick else EYE_STEPS
    (_, things), (images, test_things) = see([scenes, test_scenes], eye_steps, generator)

    asked = {balance: ask(scenes, rng, balance) for balance in (True, False)}
    tested = {balance: ask(test_scenes, rng, balance) for balance in (True, False)}
    words = Words(one.question for one in asked[False] + tested[False])
    steps = QUICK_STEPS if run.quick else STEPS
    shares: dict[str, dict[str, float]] = {}
    for name, sees, balance in (
        ("picture and question", True, True),
        ("question alone", False, True),
        ("question alone, not balanced", False, False),
    ):
        network = Answerer(len(words), len(EVERY_ANSWER), sees)
        questions = prepare(asked[balance], things, words)
        loss_of_batch = partial(questions.loss_of_batch, network)
        learn(name, network, loss_of_batch, steps if sees else BLIND_STEPS, RATE)
        test = prepare(tested[balance], test_things, words)
        found = test.found_by(network)
        shares[name] = shares_right(test, found)
        print(f"{name}, {len(asked[balance])} questions to learn from, {len(found)} for the test:")
        print("   ", ", ".join(f"{kind} {share:.4f}" for kind, share in shares[name].items()))
        print(f"    mean of the kinds {mean(shares[name]):.4f}")
        if sees:
            shown = test, found
    draw_answers(run, images, *shown, shares)
    value, baseline, _ = map(mean, shares.values())
    run.finish("mean accuracy of the kinds of questions", value, baseline)


if __name__ == "__main__":
    main()
