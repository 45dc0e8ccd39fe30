"""A network that answers questions in turn, and remembers what was said and seen.

It is the hierarchical recurrent encoder of Das et al. 2017, "Visual dialog": one layer reads the
words of a question, and another one goes on from turn to turn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import rnnfast.torch
from examples.looking import HEADS, SEEN, Look
from examples.reading import HIDDEN, Reader

ANSWER = 16  # width of the embedding of an answer


class Talker(nn.Module):
    """A reader of questions, and a cell that takes a step in each turn.

    Args:
        words: The number of words.
        answers: The number of answers.
        history: Whether the network knows the turns before; if not, each starts from zeros.
    """

    def __init__(self, words: int, answers: int, history: bool) -> None:
        super().__init__()
        self.history = history
        self.reader = Reader(words)
        self.embedding = nn.Embedding(answers, ANSWER)
        self.cell = rnnfast.torch.GRUCell(HIDDEN + ANSWER + SEEN, HIDDEN)
        self.look = Look(2 * HIDDEN, marks=HEADS)
        self.keep = nn.Linear(2 * HIDDEN, HEADS)
        self.answer = nn.Sequential(
            nn.Linear(2 * HIDDEN + SEEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, answers)
        )

    def forward(self, things: Tensor, questions: Tensor, answers: Tensor) -> Tensor:
        """Return the scores of the answers, (R, B, answers), of R turns.

        Args:
            things: (B, N, FEATURES)
            questions: (T, R, B), with padding.
            answers: (R, B), the right ones: a turn sees those of the turns before it.
        """
        _, turns, batch = questions.shape
        read = self.reader(questions.flatten(1)).unflatten(0, (turns, batch))
        said = torch.cat([read.new_zeros(1, batch, ANSWER), self.embedding(answers[:-1])])
        h, seen = read.new_zeros(batch, HIDDEN), read.new_zeros(batch, SEEN)
        where = things.new_zeros(batch, things.shape[1], HEADS)  # what was spoken of
        scores = []
        for question, answer in zip(read, said, strict=True):
            if not self.history:
                h, seen, answer = torch.zeros_like(h), torch.zeros_like(seen), 0 * answer
                where = torch.zeros_like(where)
            h = self.cell(torch.cat([question, answer, seen], dim=1), h)
            wanted = torch.cat([question, h], dim=1)
            seen, glanced = self.look(torch.cat([where, things], dim=2), wanted)
            keep = self.keep(wanted).sigmoid()[:, None]
            where = keep * where + (1 - keep) * glanced
            scores.append(self.answer(torch.cat([wanted, seen], dim=1)))
        return torch.stack(scores)
