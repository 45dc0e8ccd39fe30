"""An eye for scenes: convolutions that learn what is where, and then look at things.

What the examples read is not the whole picture but the few places where the eye is surest that
something is (Anderson et al. 2018, "Bottom-up and top-down attention for image captioning and
visual question answering"). As is usual, the eye learns beforehand, on its own task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from examples.learning import learn
from examples.scenes import COLOURS, SHAPES, SIDE, SIZES, Images, Scene, draw

CHANNELS = 64
PLACES = 10  # across and down
CELL = SIDE // PLACES  # pixels
FEATURES = CHANNELS + 3  # of each thing: channels, x, y and certainty
PARTS = (1, len(SHAPES), len(COLOURS), len(SIZES), 2)  # what there is to tell of a place
BATCH, RATE = 64, 1e-2


class Eye(nn.Module):
    """Three convolutions, and a layer that tells of each place what is there."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, size, stride in ((3, 24, 5, 2), (24, 48, 3, 2), (48, CHANNELS, 3, 1)):
            layers += [
                nn.Conv2d(before, after, size, stride, size // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.tell = nn.Conv2d(CHANNELS, sum(PARTS), 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Look at pictures.

        Args:
            pictures: (B, 3, SIDE, SIDE), of uint8.

        Returns:
            The channels of each place, (B, CHANNELS, PLACES, PLACES), and what there is to tell of
            it, (B, sum(PARTS), PLACES, PLACES): scores of whether a thing is centred there, of its
            shape, colour and size, and its offset from the middle of the place, in places.
        """
        channels = self.convolutions(pictures / 127.5 - 1)
        return channels, self.tell(channels)

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of what is told, for the targets of `what_is_where`."""
        there, *kinds, offset = self(pictures)[1].movedim(1, -1).split(PARTS, dim=-1)
        target = targets.movedim(1, -1)
        here = target[..., 0] > 0
        loss = binary_cross_entropy_with_logits(there[..., 0], target[..., 0])
        loss = 10 * loss + (offset - target[..., 4:])[here].square().mean()
        for scores, true in zip(kinds, target[here].T[1:4], strict=True):
            loss = loss + cross_entropy(scores[here], true.long())
        return loss

    def things(self, images: Images, count: int) -> Tensor:
        """Return the features of things, (B, count, FEATURES), the surest first.

        A thing on the border of places may be seen from each of them. It is taken once, where it
        is surest, and its certainty is the sum of all.
        """
        parts = torch.from_numpy(images).split(250)
        with torch.no_grad():
            return torch.cat([self._things(part, count) for part in parts])

    def _things(self, pictures: Tensor, count: int) -> Tensor:
        channels, told = (part.flatten(2).transpose(1, 2) for part in self(pictures))
        across = torch.arange(PLACES) + 0.5
        middle = torch.cartesian_prod(across, across).flip(1)
        where = middle + told[..., -2:]
        sure = told[..., :1].sigmoid()
        same = torch.cdist(where, where) < 1
        beaten = (same & (sure < sure.mT)).any(dim=2, keepdim=True)
        certainty = (same.float() @ sure).clamp(max=1).masked_fill(beaten, 0)
        features = torch.cat([channels, where * 2 / PLACES - 1, certainty], dim=2)
        return features.take_along_dim(certainty.topk(count, dim=1).indices, dim=1)


def what_is_where(scenes: Sequence[Scene]) -> Tensor:
    """Return what an eye should tell, (B, 6, PLACES, PLACES).

    The six are: 1 if a thing is centred there, and then the numbers of its shape, colour and size
    and its offset, across and down, from the middle of the place, in places.
    """
    targets = torch.zeros(len(scenes), 6, PLACES, PLACES)
    for target, scene in zip(targets, scenes, strict=True):
        for t in scene:
            kind = SHAPES.index(t.shape), list(COLOURS).index(t.colour), list(SIZES).index(t.size)
            row, column = int(t.y / CELL), int(t.x / CELL)
            offset = t.x / CELL - column - 0.5, t.y / CELL - row - 0.5
            target[:, row, column] = torch.tensor([1, *kind, *offset])
    return targets


def train_eye(scenes: Sequence[Scene], images: Images, steps: int) -> Eye:
    """Return an eye that has learned from scenes and the pictures of them."""
    eye = Eye()
    targets, pictures = what_is_where(scenes), torch.from_numpy(images)

    def loss_of_batch() -> Tensor:
        chosen = torch.randint(len(scenes), (BATCH,))
        return eye.loss(pictures[chosen], targets[chosen])

    learn("eye", eye, loss_of_batch, steps, RATE)
    return eye


def see(
    parts: Sequence[Sequence[Scene]], steps: int, generator: np.random.Generator
) -> list[tuple[Images, Tensor]]:
    """Draw scenes, train an eye on the first part of them, and look at all parts with it.

    Args:
        parts: Scenes to learn from, and those of tests.
        steps: The number of batches for the eye.
        generator: Source of backgrounds and noise.

    Returns:
        The pictures of each part, and the things in them, (N, most, FEATURES), where most is the
        largest number of things of a scene.
    """
    images = [draw(scenes, generator) for scenes in parts]
    eye = train_eye(parts[0], images[0], steps)
    most = max(map(len, parts[0]))
    return [(pictures, eye.things(pictures, most)) for pictures in images]
