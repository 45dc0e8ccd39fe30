"""A network that reads a question and then looks at a picture, and one that only reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.looking import SEEN, Look
from examples.reading import HIDDEN, Reader


class Answerer(nn.Module):
    """A reader of questions, a look at the things of the picture, and a layer for the answer.

    Args:
        words: The number of words.
        answers: The number of answers.
        looks: Whether the network sees the picture; if not, it has nothing but the question.
    """

    def __init__(self, words: int, answers: int, looks: bool) -> None:
        super().__init__()
        self.reader = Reader(words)
        self.look = Look(HIDDEN) if looks else None
        self.answer = nn.Sequential(
            nn.Linear(HIDDEN + (SEEN if looks else 0), HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, answers),
        )

    def forward(self, things: Tensor, questions: Tensor) -> Tensor:
        """Return the scores of the answers, (B, answers).

        Args:
            things: (B, N, FEATURES), from `Eye.things`.
            questions: (T, B), with padding.
        """
        known = self.reader(questions)
        if self.look:
            known = torch.cat([known, self.look(things, known)[0]], dim=1)
        scores: Tensor = self.answer(known)
        return scores
