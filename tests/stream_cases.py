"""Sizes and helpers that the tests of streams share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import rnnfast

T, B, I, H = 5, 11, 6, 9


def reals(*shape: int, seed: int = 0, dtype: str = "float32") -> NDArray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def layer_of(cell: str, **options: Any) -> Any:
    return rnnfast.Recurrent(cell, I, H, 2, seed=1, **options).eval()


def steps(stream: rnnfast.Stream, x: NDArray) -> NDArray:
    return np.stack([stream(step) for step in x])
