"""Where DRAW looks and writes: a square grid of Gaussian filters over an image.

Gregor et al. 2015, "DRAW: a recurrent neural network for image generation", section 3.2.

Sizes: B batch, S height and width of an image, N rows and columns of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A grid of filters.

    Attributes:
        rows: The filters of each row, (B, N, S), each of which sums to one.
        columns: The filters of each column, (B, N, S).
        strength: By how much what is read is multiplied, (B, 1, 1).
        frame: Row and column of the centre, and the distance of the filters, in pixels, (B, 3).
    """

    rows: Tensor
    columns: Tensor
    strength: Tensor
    frame: Tensor

    def read(self, images: Tensor) -> Tensor:
        """Return what the filters see of images (B, S, S), (B, N, N)."""
        return self.strength * (self.rows @ images @ self.columns.mT)

    def write(self, patches: Tensor) -> Tensor:
        """Return images (B, S, S) with patches (B, N, N) where the filters are."""
        return (self.rows.mT @ patches @ self.columns) / self.strength


def window(parameters: Tensor, size: int, filters: int) -> Window:
    """Return the grid that a layer chooses (equations 19 to 26).

    A filter whose centre is outside of the image sees what is nearest to it.

    Args:
        parameters: Row and column of the centre from -1 to 1, and the logarithms of the filters'
            variance, of their distance and of the strength, (B, 5).
        size: Height and width of the images.
        filters: Rows and columns of the grid.
    """
    centre = (size + 1) / 2 * (parameters[:, :2] + 1) - 1
    variance, distance, strength = parameters[:, 2:, None, None].exp().unbind(dim=1)
    distance = (size - 1) / (filters - 1) * distance
    means = centre[..., None] + (torch.arange(filters) - (filters - 1) / 2) * distance  # (B, 2, N)
    squares = (torch.arange(size) - means[..., None]).square()
    rows, columns = (squares / (-2 * variance[..., None])).softmax(dim=3).unbind(dim=1)
    return Window(rows, columns, strength, torch.cat([centre, distance[:, 0]], dim=1))
