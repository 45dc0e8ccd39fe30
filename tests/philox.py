"""Philox4x32-10 (Salmon et al. 2011) and the dropout masks made from it, in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Return four random 32-bit words for each counter (..., 4)."""
    a, b, c, d = (counter[..., i] for i in range(4))
    for i in range(10):
        low = np.uint64((key[0] + i * 0x9E3779B9) & 0xFFFFFFFF)
        high = np.uint64((key[1] + i * 0xBB67AE85) & 0xFFFFFFFF)
        p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b, c, d = (q >> _HALF) ^ b ^ low, q & _WORD, (p >> _HALF) ^ d ^ high, p & _WORD
    return np.stack([a, b, c, d], -1)


def dropout_mask(count: int, p: float, seed: int, layer: int) -> NDArray[np.float64]:
    """Return the factors by which the first `count` outputs of a layer are multiplied."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    zeros = np.zeros_like(blocks)
    counter = np.stack([blocks & _WORD, blocks >> _HALF, zeros + np.uint64(layer), zeros], -1)
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32)).ravel()[:count]
    return np.where(words < int(p * 2**32), 0, 1 / (1 - p))
