"""Arrays from bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array(dtype: str, data: Any, shape: Sequence[int]) -> NDArray[Any]:
    """Return an array of little-endian numbers; bfloat16 becomes float32, as NumPy lacks it.

    Raises:
        ValueError: There are not as many numbers as in `shape`.
    """
    if dtype == "bfloat16":
        halves = np.frombuffer(data, "<u2").astype(np.uint32)
        return (halves << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def size_of(dtype: str) -> int:
    """Return the bytes of one number in a file."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
