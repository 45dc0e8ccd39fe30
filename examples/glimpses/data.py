"""Images of two handwritten digits at any two places, one to the left of the other."""

from __future__ import annotations

import numpy as np

from examples.common import Floats, Integers, resized_digits

SIZE = 24  # pixels
DIGIT = 8


def scenes(
    images: Floats,
    classes: Integers,
    count: int,
    generator: np.random.Generator,
    vary: bool = False,
) -> tuple[Floats, Integers]:
    """Return images of two digits, (count, SIZE, SIZE), and their classes, (2, count).

    The first digit is to the left of the second, and no column has pixels of both.

    Args:
        images: Digits, (N, 8, 8).
        classes: The class of each.
        count: Number of images.
        generator: Source of all that is drawn.
        vary: Whether to turn and scale each digit a little.
    """
    canvas = np.zeros((count, SIZE, SIZE), np.float32)
    shown = generator.integers(len(images), size=(2, count))
    rows = generator.integers(SIZE - DIGIT + 1, size=(2, count))
    columns = np.sort(generator.integers(SIZE - 2 * DIGIT + 1, size=(2, count)), axis=0)
    columns[1] += DIGIT
    offsets = np.arange(DIGIT)
    for d in range(2):
        row = rows[d][:, None, None] + offsets[:, None]
        column = columns[d][:, None, None] + offsets
        drawn = resized_digits(images[shown[d]], DIGIT, generator if vary else None)
        canvas[np.arange(count)[:, None, None], row, column] = drawn
    return canvas, classes[shown]
