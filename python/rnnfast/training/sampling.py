"""Sampling of characters from a model's logits."""

from __future__ import annotations

import math

import numpy as np

from rnnfast._engine.checks import RealArray


def choose(
    logits: RealArray, temperature: float, top_k: int, generator: np.random.Generator
) -> int:
    """Draw one of V characters from logits (V,); `CharLM.generate` documents the arguments.

    Raises:
        ValueError: The largest logit is not finite.
    """
    best = int(logits.argmax())
    if not math.isfinite(logits[best]):
        raise ValueError("the model's logits are not finite")
    if temperature == 0:
        return best
    weights = logits.astype(np.float64)
    if top_k:
        weights[np.argsort(-weights, kind="stable")[top_k:]] = -np.inf
    weights -= weights[best]
    weights /= max(temperature, 1e-300)  # less has no effect but overflow
    np.exp(weights, out=weights)
    np.cumsum(weights, out=weights)
    return int(weights.searchsorted(generator.random() * weights[-1], side="right"))
