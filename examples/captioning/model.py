"""A network that looks at a picture, and looks again before each word that it writes about it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import rnnfast.torch
from examples.looking import SEEN, Look
from examples.reading import EMBEDDING, HIDDEN

PICTURE = 128  # width of what is seen before a word
State = tuple[Tensor, Tensor, Tensor]  # the things, h and c, of which axis 0 counts the sentences


class Captioner(nn.Module):
    """An LSTM that sees a part of the picture in every step.

    Each gate has a term W v beside those of the word before and of the state. Where to look for v
    follows from the state, as in Xu et al. 2015, "Show, attend and tell".

    Args:
        words: The number of words, of which 1 is the start and the end.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.look = Look(HIDDEN)
        self.picture = nn.Sequential(nn.Linear(SEEN, PICTURE), nn.ReLU())
        self.embedding = nn.Embedding(words, EMBEDDING)
        self.cell = rnnfast.torch.LSTMCell(EMBEDDING, HIDDEN, context_size=PICTURE)
        self.readout = nn.Linear(HIDDEN, words)

    def start(self, things: Tensor) -> State:
        """Return the state before the first word, for things (B, THINGS, FEATURES)."""
        zeros = things.new_zeros(len(things), HIDDEN)
        return things, zeros, zeros

    def forward(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the scores of the next words, (T, B, words), after words (T, B)."""
        things, h, c = state
        states = []
        for word in self.embedding(words):
            v = self.picture(self.look(things, h)[0])
            h, c = self.cell(word, (h, c), context=v)
            states.append(h)
        return self.readout(torch.stack(states)), (things, h, c)
