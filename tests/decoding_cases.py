"""Small models of tokens, and searches through all or most of their sequences, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]  # (T, V, V, V): the logits of each step, after every two tokens
Found = tuple[float, float, tuple[int, ...]]  # score, log-probability, tokens


def table(vocabulary: int, seed: int, scale: float = 1.5, length: int = 8) -> Table:
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((length, vocabulary, vocabulary, vocabulary))


def first(before: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the state of `step_of` before the first step: the token before, and the step."""
    return np.asarray(before), np.zeros(len(before), np.int64)


def step_of(logits: Table) -> Callable[[NDArray[np.int64], Any], tuple[Any, Any]]:
    def step(tokens: NDArray[np.int64], state: Any) -> tuple[Any, Any]:
        before, count = state
        return logits[count, before, tokens], (tokens, count + 1)

    return step


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def logits_of(logits: Table, before: int, start: int) -> Callable[[tuple[int, ...]], NDArray]:
    """Return a function from the tokens written so far to the logits of the next one."""
    return lambda written: logits[(len(written), *(before, start, *written)[-2:])]


def score(log_probability: float, size: int, penalty: float) -> float:
    return log_probability / ((5 + size) / 6) ** penalty


def is_over(tokens: tuple[int, ...], length: int, stop: tuple[int, ...]) -> bool:
    return len(tokens) == length or (bool(stop) and tokens[-len(stop) :] == stop)


def exhaustive(
    logits: Callable[[tuple[int, ...]], NDArray],
    vocabulary: int,
    length: int,
    stop: tuple[int, ...],
    penalty: float,
) -> list[Found]:
    """Return all sequences that are over, and no sooner than with their last token, best first."""
    found = []
    after = cache(lambda written: log_softmax(logits(written)))
    for size in range(1, length + 1):
        for tokens in product(range(vocabulary), repeat=size):
            starts = (tokens[:i] for i in range(1, size))
            if is_over(tokens, length, stop) and not any(is_over(s, length, stop) for s in starts):
                total = float(sum(after(tokens[:i])[tokens[i]] for i in range(size)))
                found.append((score(total, size, penalty), total, tokens))
    return sorted(found, reverse=True)


def plain_beam_search(
    logits: Callable[[tuple[int, ...]], NDArray],
    beams: int,
    length: int,
    stop: tuple[int, ...],
    penalty: float,
) -> list[Found]:
    """Return all that a beam search finishes, best first, if it never ends early."""
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    found = []
    while beam:
        candidates = [
            (total + value, (*tokens, token))
            for total, tokens in beam
            for token, value in enumerate(log_softmax(logits(tokens)))
        ]
        candidates.sort(reverse=True)
        beam = [c for c in candidates if not is_over(c[1], length, stop)][:beams]
        for total, tokens in candidates[:beams]:
            if is_over(tokens, length, stop):
                found.append((score(total, len(tokens), penalty), total, tokens))
    return sorted(found, reverse=True)
