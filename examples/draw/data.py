"""Digits of black and white pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from examples.common import Floats, resized_digits

SIZE = 16  # pixels


def black_and_white(images: Floats, generator: np.random.Generator | None = None) -> Tensor:
    """Return digits of SIZE x SIZE pixels that are 0 or 1, (B, SIZE, SIZE).

    Args:
        images: Digits in grey, (B, 8, 8), which are enlarged and cut at one half.
        generator: Source of small turns and changes of size, or None for none.
    """
    return torch.from_numpy(np.float32(resized_digits(images, SIZE, generator) > 0.5))
