"""A network that sees an image in glimpses, and chooses where to look.

Mnih, Heess, Graves and Kavukcuoglu 2014, "Recurrent models of visual attention"; Ba, Mnih and
Kavukcuoglu 2015, "Multiple object recognition with visual attention".

Sizes: B batch, S height and width of an image, T glimpses of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample

import rnnfast.torch

PATCH = 8  # height and width of a patch, in pixels of its scale
SCALES = 2  # patches of a glimpse, each with pixels twice as wide as the one before
CONTEXT = 4  # width of the pixels of the coarse image that says where to begin
WIDTH = 128  # of the layers between the patches and the LSTMs
DIGITS = 2  # of an image

Policy = Callable[[Tensor], Tensor]
"""From the places that the network has chosen, (B, 2), to those that it looks at."""


class Reading(NamedTuple):
    """What the network finds and where it has looked.

    Attributes:
        scores: Scores of the classes of each digit, (DIGITS, B, 10).
        chosen: The places that the network has chosen, (T, B, 2).
        places: The places that it has looked at, (T, B, 2).
        expected: The reward that it expects before each glimpse, (T, B).
    """

    scores: Tensor
    chosen: Tensor
    places: Tensor
    expected: Tensor


def sense(scales: list[Tensor], places: Tensor) -> Tensor:
    """Return the patches around places, (B, SCALES * PATCH * PATCH).

    Args:
        scales: The images in each scale, (B, 1, S, S), (B, 1, S / 2, S / 2) and so on.
        places: Column and row from -1 to 1, (B, 2). What lies outside of the image is blank.
    """
    patches = []
    offsets = torch.arange(PATCH) - (PATCH - 1) / 2
    grid = torch.stack(torch.meshgrid(offsets, offsets, indexing="xy"), dim=-1)
    for images in scales:
        around = places[:, None, None] + 2 / images.shape[-1] * grid
        patches.append(grid_sample(images, around, align_corners=False).flatten(1))
    return torch.cat(patches, dim=1)


class Reader(nn.Module):
    """An LSTM that reads the digits, and an LSTM that chooses where to look.

    The second one alone begins with a coarse image of the whole, and it tells the first one
    nothing: what the scores depend on has been seen in glimpses.

    Args:
        size: Height and width of the images.
        hidden_size: Width of each LSTM.
        glimpses: The number of glimpses at each digit.
    """

    def __init__(self, size: int, hidden_size: int, glimpses: int) -> None:
        super().__init__()
        self.glimpses = glimpses
        self.context = nn.Sequential(nn.Linear((size // CONTEXT) ** 2, hidden_size), nn.Tanh())
        self.what = nn.Sequential(
            nn.Linear(SCALES * PATCH**2, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()
        )
        self.where = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU())
        self.both = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU())
        self.reading = rnnfast.torch.LSTMCell(WIDTH, hidden_size)
        self.looking = rnnfast.torch.LSTMCell(hidden_size, hidden_size)
        self.readout = nn.Linear(hidden_size, 10)
        self.place = nn.Linear(hidden_size, 2)
        self.expectation = nn.Linear(hidden_size, 1)

    def forward(self, images: Tensor, policy: Policy) -> Reading:
        """Read the digits of images (B, S, S) with glimpses where the policy says."""
        scales = [avg_pool2d(images[:, None], 2**i) for i in range(SCALES)]
        begin = self.context(avg_pool2d(images[:, None], CONTEXT).flatten(1))
        looking = begin, torch.zeros_like(begin)
        reading = torch.zeros_like(begin), torch.zeros_like(begin)
        scores, chosen, places, expected = [], [], [], []
        for t in range(DIGITS * self.glimpses):
            chosen.append(torch.tanh(self.place(looking[0])))
            expected.append(self.expectation(looking[0].detach())[:, 0])
            places.append(policy(chosen[-1].detach()))
            what, where = self.what(sense(scales, places[-1])), self.where(places[-1])
            reading = self.reading(self.both(torch.cat([what, where], dim=1)), reading)
            looking = self.looking(reading[0], looking)
            if (t + 1) % self.glimpses == 0:
                scores.append(self.readout(reading[0]))
        return Reading(*map(torch.stack, (scores, chosen, places, expected)))
