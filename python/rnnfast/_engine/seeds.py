"""Where the randomness of layers comes from that are given no seed."""

from __future__ import annotations

import threading

import numpy as np

from rnnfast._engine import checks

_lock = threading.Lock()
_process: np.random.Generator | None = None


def manual_seed(seed: int | None) -> None:
    """Let everything that is given no seed be reproducible, from here on.

    Layers (their initial values and dropout), models and `rnnfast.init` draw fresh randomness where
    their `seed` is None. After this call they take their seeds from one generator of the process,
    one after the other: the same program then gives the same bits. Arguments `seed` that are given
    act as before, and NumPy's own global generator is left alone.

    Any thread may draw. Which of several gets which seed depends on their order, and a forked
    process goes on with a copy: call `manual_seed` in each.

    Args:
        seed: Of the process's generator; None for fresh randomness again.

    Raises:
        ValueError: The seed is negative.
        TypeError: It is not an integer.
    """
    global _process
    checked = checks.seed("seed", seed)
    with _lock:
        _process = None if checked is None else np.random.default_rng(checked)


def generator(seed: int | None) -> np.random.Generator:
    """Return the generator of an argument `seed`; None is as `manual_seed` says.

    Raises:
        ValueError: The seed is negative.
        TypeError: It is not an integer.
    """
    return np.random.default_rng(chosen(seed))


def chosen(seed: int | None) -> int | None:
    """Return an argument `seed`, checked, or in place of None the process's next one, if any."""
    if seed is not None:
        return checks.seed("seed", seed)
    with _lock:
        return None if _process is None else int(_process.integers(2**63))
