"""An agent that reads an instruction, and looks at its words and at its surroundings to move.

After Anderson et al. 2018, "Vision-and-language navigation" (arXiv:1711.07280).

Sizes: S words, B agents, H hidden_size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnfast.torch
from examples.navigation.worlds import ACTIONS, CODES, SIGHT

EMBEDDING = 32
ALIGNMENT = 32  # width of keys and queries


class Instructions(NamedTuple):
    """Instructions that an agent has read: keys and values of their words, and where words are."""

    keys: Tensor  # (B, ALIGNMENT, S)
    values: Tensor  # (B, S, H / 2)
    padding: Tensor  # (B, 1, S), bool


class Agent(nn.Module):
    """An LSTM that reads an instruction in both directions, and one that moves.

    In each step the second one gets what the agent sees, its last action, and the words at which it
    looks: those whose keys are like a query, which depends on its state and on what it sees.

    Args:
        words: The number of words, of which 0 is that of padding.
        hidden_size: H, the width of the second LSTM; a direction of the first one has a quarter.
        layers: The module with LSTM and LSTMCell, `rnnfast.torch` or `torch.nn`.
    """

    def __init__(self, words: int, hidden_size: int, layers: Any = rnnfast.torch) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, EMBEDDING)
        self.place = nn.Embedding(100, EMBEDDING)
        self.reader = layers.LSTM(EMBEDDING, hidden_size // 4, bidirectional=True)
        self.key = nn.Linear(hidden_size // 2, ALIGNMENT, bias=False)
        self.sight = nn.EmbeddingBag(SIGHT**2 * CODES, hidden_size, mode="sum")
        self.last_action = nn.Embedding(len(ACTIONS), EMBEDDING)
        self.thing = nn.Embedding(CODES, ALIGNMENT)
        self.named = nn.Linear(hidden_size // 2, ALIGNMENT)
        self.match = nn.Linear(SIGHT**2, hidden_size)
        self.query = nn.Linear(2 * hidden_size, ALIGNMENT)
        self.cell = layers.LSTMCell(hidden_size + hidden_size // 2 + EMBEDDING, hidden_size)
        self.policy = nn.Linear(2 * hidden_size + hidden_size // 2, len(ACTIONS))
        self.value = nn.Linear(2 * hidden_size + hidden_size // 2, 1)
        self.register_buffer("places", CODES * torch.arange(SIGHT**2), persistent=False)
        nn.init.normal_(self.sight.weight, std=0.2)

    def read(self, words: Tensor) -> Instructions:
        """Return what has been read of instructions, (S, B)."""
        padding = words == 0
        embedded = self.embedding(words) + self.place(torch.arange(len(words)))[:, None]
        packed = pack_padded_sequence(embedded, (~padding).sum(dim=0), enforce_sorted=False)
        y, _ = pad_packed_sequence(self.reader(packed)[0], total_length=len(words))
        values = y.transpose(0, 1).contiguous()
        return Instructions(
            self.key(values).transpose(1, 2).contiguous(), values, padding.T[:, None]
        )

    def start(self, agents: int) -> tuple[Tensor, Tensor]:
        """Return the state before the first step: zeros."""
        zeros = self.policy.weight.new_zeros(agents, self.cell.hidden_size)
        return zeros, zeros

    def forward(
        self, views: Tensor, actions: Tensor, read: Instructions, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Take a step.

        Args:
            views: Codes of the cells that are seen, (B, SIGHT, SIGHT).
            actions: The action before, (B,).
            read: The instructions.
            state: h and c, each (B, H).

        Returns:
            The scores of the next actions, (B, 4), the expected returns, (B,), and the state.
        """
        views = views.flatten(1)
        seen = self.sight(views + self.places)
        query = self.query(torch.cat([state[0], relu(seen)], dim=1))
        alike = torch.bmm(query[:, None], read.keys).masked_fill(read.padding, -torch.inf)
        words = torch.bmm(alike.softmax(dim=2), read.values)[:, 0]
        matches = torch.bmm(self.thing(views), self.named(words)[:, :, None])[..., 0]
        seen = relu(seen + self.match(matches))
        state = self.cell(torch.cat([seen, words, self.last_action(actions)], dim=1), state)
        features = torch.cat([state[0], seen, words], dim=1)
        return self.policy(features), self.value(features.detach())[:, 0], state
