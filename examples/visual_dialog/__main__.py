"""Visual dialog: questions about a picture, in turns, most of which only make sense in turn.

    python -m examples.visual_dialog

"How many red? - 2. - What shape is the left one? - Circle. - And the other?" A convolutional
network finds the things of a picture, a GRU reads each question, and another one goes on from turn
to turn: it knows the answers so far and what was looked at. The baseline is the same network
without the turns before, and learns from the same dialogs.
"""

from __future__ import annotations

import random
import textwrap
from functools import partial
from typing import NamedTuple

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
from examples.visual_dialog.data import ANSWERS, ROUNDS, Turn, make_dialog, make_scene
from examples.visual_dialog.model import Talker

SCENES, QUICK_SCENES = 12000, 2500  # to learn from, with a dialog about each
TEST_SCENES = 1000
EYE_STEPS, QUICK_EYE_STEPS = 1000, 300
STEPS, QUICK_STEPS = 2400, 250
BATCH, RATE = 32, 1.5e-3
QUICK_BAR = 0.6  # share of right answers that --quick reaches; each turn alone reaches 0.55

Dialogs = list[list[Turn]]


class Talks(NamedTuple):
    """Dialogs as a network reads them.

    Attributes:
        dialogs: The dialogs.
        things: What the eye finds in each picture, (B, N, FEATURES).
        questions: Their words, (T, ROUNDS, B), with padding.
        answers: Places in ANSWERS, (ROUNDS, B).
    """

    dialogs: Dialogs
    things: Tensor
    questions: Tensor
    answers: Tensor

    def loss_of_batch(self, network: Talker) -> Tensor:
        """Return the loss of a random batch."""
        chosen = torch.randint(len(self.dialogs), (BATCH,))
        answers = self.answers[:, chosen]
        scores = network(self.things[chosen], self.questions[:, :, chosen], answers)
        return cross_entropy(scores.flatten(0, 1), answers.flatten())

    def found_by(self, network: Talker) -> Tensor:
        """Return the answers that a network finds, (ROUNDS, B)."""
        return network(self.things, self.questions, self.answers).argmax(dim=-1)


def prepare(dialogs: Dialogs, things: Tensor, words: Words) -> Talks:
    """Return dialogs as tensors."""
    questions = words.encode([turn.question for dialog in dialogs for turn in dialog])
    answers = [[ANSWERS.index(turn.answer) for turn in dialog] for dialog in dialogs]
    return Talks(
        dialogs,
        things,
        questions.unflatten(1, (len(dialogs), ROUNDS)).transpose(1, 2),
        torch.tensor(answers).T,
    )


def print_shares(name: str, dialogs: Dialogs, right: Tensor) -> None:
    """Print the share of right answers of each kind of question."""
    shares: dict[str, list[bool]] = {}
    for dialog, row in zip(dialogs, right.T.tolist(), strict=True):
        for turn, is_right in zip(dialog, row, strict=True):
            shares.setdefault(turn.kind, []).append(is_right)
    text = ", ".join(f"{kind} {np.mean(shares[kind]):.4f}" for kind in sorted(shares))
    print(f"{name}: {text}")


def draw_dialogs(run: Run, images: Images, talks: Talks, found: Tensor, alone: Tensor) -> None:
    """Draw pictures beside their dialogs, with the answers of both networks where they differ."""
    right = (found == talks.answers).all(dim=0)
    shown = [*(~right).nonzero()[:2, 0].tolist(), *right.nonzero()[:4, 0].tolist()]
    picture = Figure(figsize=(11, 7.2))
    grid = picture.subplots(3, 4, width_ratios=[1, 1.3, 1, 1.3])
    for (axes, text), i in zip(grid.reshape(6, 2), reversed(shown), strict=False):
        axes.imshow(images[i].transpose(1, 2, 0), interpolation="nearest")
        axes.axis("off")
        text.axis("off")
        for turn, question in enumerate(talks.dialogs[i]):
            said, guessed = (ANSWERS[answers[turn, i]] for answers in (found, alone))
            line = f"{question.question}?  {said}"
            is_right = said == question.answer
            line += "" if is_right else f" (is: {question.answer})"
            line += "" if guessed == said else f"   [alone: {guessed}]"
            text.text(
                -0.1, 0.9 - 0.16 * turn, textwrap.fill(line, 52), va="center", fontsize=8,
                color="k" if is_right else "r", transform=text.transAxes,
            )  # fmt: skip
    run.save(picture)


def main() -> None:
    """Train the eye and both networks, and compare them on dialogs about other scenes."""
    run = read_options(__package__, __doc__)
    torch.manual_seed(run.seed)
    rng, generator = random.Random(run.seed), np.random.default_rng(run.seed)
    count = QUICK_SCENES if run.quick else SCENES
    parts = [[make_scene(rng) for _ in range(number)] for number in (count, TEST_SCENES)]
    eye_steps = QUICK_EYE_STEPS if run.quick else EYE_STEPS
    (_, things), (images, test_things) = see(parts, eye_steps, generator)
    dialogs, test_dialogs = ([make_dialog(scene, rng) for scene in part] for part in parts)
    words = Words(turn.question for dialog in dialogs + test_dialogs for turn in dialog)
    train = prepare(dialogs, things, words)
    test = prepare(test_dialogs, test_things, words)

    found = []
    for name, history in (("with the turns before", True), ("each turn alone", False)):
        network = Talker(len(words), len(ANSWERS), history)
        steps = QUICK_STEPS if run.quick else STEPS
        learn(name, network, partial(train.loss_of_batch, network), steps, RATE)
        found.append(test.found_by(network))
        print_shares(name, test_dialogs, found[-1] == test.answers)
    draw_dialogs(run, images, test, *found)
    value, baseline = ((answers == test.answers).float().mean().item() for answers in found)
    run.finish("share of right answers", value, baseline)


if __name__ == "__main__":
    main()
