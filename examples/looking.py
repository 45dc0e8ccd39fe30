"""A layer that looks at the things of a picture, for what a question asks.

It goes through all pairs of things (Santoro et al. 2017, "A simple neural network module for
relational reasoning"), which the question modulates (Perez et al. 2018, "FiLM: visual reasoning
with a general conditioning layer"). Attention chooses among them, and a sum can count them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.vision import FEATURES

WIDTH = 128
HEADS, VALUE = 4, 64  # glances at a time, and what each of them sees
SEEN = HEADS * VALUE + WIDTH
SHARP = 8  # by which a distance, 1 for half a picture, becomes a side: left, right, above, below


class Look(nn.Module):
    """Glances at things, each the first of a pair that fits what is wanted, and a sum of all pairs.

    Args:
        size: Width of the vector that says what is wanted.
        marks: The number of features that each thing has before those of the eye.
    """

    def __init__(self, size: int, marks: int = 0) -> None:
        super().__init__()
        self.one = nn.Linear(marks + FEATURES - 1, WIDTH)
        self.other = nn.Linear(marks + FEATURES - 1, WIDTH, bias=False)
        self.between = nn.Linear(6, WIDTH, bias=False)
        self.modulate = nn.Linear(size, 4 * WIDTH)
        self.middle = nn.Linear(WIDTH, WIDTH)
        self.query = nn.Linear(size, HEADS * WIDTH)
        self.value = nn.Linear(marks + FEATURES - 1, VALUE)
        self.total = nn.Linear(WIDTH, WIDTH)

    def forward(self, things: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Look at things.

        Args:
            things: (B, N, marks + FEATURES)
            wanted: (B, size)

        Returns:
            What is seen, (B, SEEN), and where: the weight of each thing, (B, N, HEADS).
        """
        features, certainty = things[..., :-1], things[..., -1:]
        where = features[..., -2:]
        apart = where[:, :, None] - where[:, None]  # negative: left of, above
        between = self.between(torch.cat([apart, apart.abs(), torch.tanh(SHARP * apart)], dim=-1))
        pairs = self.one(features)[:, :, None] + self.other(features)[:, None] + between
        gain, shift, next_gain, next_shift = self.modulate(wanted)[:, None, None].chunk(4, dim=-1)
        pairs = torch.relu((1 + gain) * pairs + shift)
        pairs = torch.relu((1 + next_gain) * self.middle(pairs) + next_shift)
        sure = certainty[:, :, None] * certainty[:, None]  # (B, N, N, 1)

        queries = self.query(wanted).unflatten(1, (WIDTH, HEADS)) / WIDTH**0.5
        scores = pairs.flatten(1, 2) @ queries + sure.log().flatten(1, 2)
        weights = scores.softmax(dim=1).unflatten(1, pairs.shape[1:3]).sum(dim=2)
        glances = weights.transpose(1, 2) @ self.value(features)  # (B, HEADS, VALUE)
        total = (torch.relu(self.total(pairs)) * sure).sum(dim=(1, 2))
        return torch.cat([glances.flatten(1), total], dim=1), weights
