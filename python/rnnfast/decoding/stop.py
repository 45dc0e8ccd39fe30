"""Tokens that end a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast._engine.checks import IntArray

Stop: TypeAlias = "int | Sequence[int] | IntArray"
"""A token, or several in a row, with which a sequence ends; empty for none."""


def stop_tokens(stop: Stop) -> IntArray:
    """Return an argument `stop`, checked: the tokens (M,) that end a sequence, M = 0 for none."""
    array = np.atleast_1d(np.asarray(stop))
    if array.ndim != 1:
        raise ValueError(f"stop: expected a token or several in a row, got shape {array.shape}")
    return checks.integer_array("stop", array if array.size else array.astype(np.int64))


def ends(written: IntArray, stop: IntArray) -> NDArray[np.bool_]:
    """Return which of the sequences (N, T) end with the tokens `stop` (M,)."""
    if not 0 < stop.size <= written.shape[1]:
        return np.zeros(len(written), np.bool_)
    result: NDArray[np.bool_] = (written[:, -stop.size :] == stop).all(axis=1)
    return result
