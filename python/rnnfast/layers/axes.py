"""The order of a layer's axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast import _core
from rnnfast._engine import arguments, backends
from rnnfast._engine.checks import RealArray


def time_first(name: str, x: ArrayLike) -> RealArray:
    """Return an array (B, T, ...) as (T, B, ...), in C order if it is on the CPU."""
    array: RealArray = backends.given(name, x)
    if array.ndim < 2:
        return array
    turned: RealArray = array.swapaxes(0, 1)
    if type(array) is np.ndarray and not turned.flags.c_contiguous:
        copy: RealArray | None = _core.swap_axes(array)
        return turned if copy is None else copy
    return turned


def resets_time_first(reset: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
    """Return the steps (B, T) at which episodes start as (T, B), for inputs (B, T, ...)."""
    array = backends.given("x", x)
    checked = arguments.checked_reset(
        backends.of(array), reset, array.shape[:2], "(batch, seq_len)"
    )
    return np.ascontiguousarray(checked.T)
