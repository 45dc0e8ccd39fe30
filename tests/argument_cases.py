"""Small arrays and layers that the tests of arguments share."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast import GRU, LSTM, Linear

T, B, I, H = 5, 3, 4, 6


def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((T, B, I)).astype("float32")


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def lstm(**options: Any) -> LSTM:
    return LSTM(I, H, seed=1, **options)


def gru(**options: Any) -> GRU:
    return GRU(I, H, seed=1, **options)


def linear() -> Linear:
    return Linear(I, H, seed=1)
