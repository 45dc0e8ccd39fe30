"""Words as tokens, and a network that reads a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

import rnnfast.torch

EMBEDDING, HIDDEN = 32, 128


class Words:
    """The words of a task. Token 0 is padding, and 1 is the start and the end of a sentence.

    Args:
        texts: Sentences that have every word.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.words = ["", ".", *sorted({word for text in set(texts) for word in text.split()})]
        self._index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of sentences, (T, B), with padding after the shorter ones."""
        return pad_sequence(
            [torch.tensor([self._index[word] for word in text.split()]) for text in texts]
        )

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the sentence of tokens, up to its end."""
        return " ".join(self.words[i] for i in tokens).partition(" .")[0]


class Reader(nn.Module):
    """A GRU that reads questions; its last state stands for the whole question."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, EMBEDDING)
        self.gru = rnnfast.torch.GRU(EMBEDDING, HIDDEN)

    def forward(self, questions: Tensor) -> Tensor:
        """Return the states (B, HIDDEN) after questions (T, B) with padding."""
        lengths = (questions != 0).sum(dim=0)
        packed = pack_padded_sequence(self.embedding(questions), lengths, enforce_sorted=False)
        h: Tensor = self.gru(packed)[1][0]
        return h
