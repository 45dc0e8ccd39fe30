"""What a reader returns, and the bound of what it may allocate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rnnfast.exchange.found import Found

_RATIO = 4  # of the arrays of a file to its size: compressed weights are seldom smaller by more
_LEAST = 1 << 16


@dataclass(frozen=True)
class Content:
    """The arrays of a source.

    Attributes:
        arrays: By names, whose levels are separated by dots.
        found: The recurrent networks, if the file describes them; None to find them by names.
    """

    arrays: dict[str, NDArray[Any]]
    found: list[Found] | None = None


class Budget:
    """What reading a file may allocate, in proportion to its size.

    Args:
        size: Bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._left = max(_RATIO * size, _LEAST)

    def take(self, what: str, shape: tuple[int, ...], itemsize: int = 1) -> None:
        """Count an array, or bytes.

        Raises:
            ValueError: It is too large in relation to the file.
        """
        needed = math.prod(shape) * itemsize
        if min(shape, default=0) < 0 or needed > self._left:
            raise ValueError(f"{what} of shape {shape} is too large in relation to the file")
        self._left -= needed
