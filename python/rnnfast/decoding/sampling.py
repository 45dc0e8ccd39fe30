"""Sampling of sequences from a model that predicts the next token."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import checks, seeds
from rnnfast._engine.checks import IntArray
from rnnfast.decoding.rows import Axes, OpenRows, Step, broadcastable
from rnnfast.decoding.stop import Stop, ends, stop_tokens

_DRAWN_AHEAD = 64  # a call for many numbers takes little longer than for one


class Uniforms:
    """Random numbers in [0, 1) for sequences, of which each has its own generator."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = list(generators)
        self._block = np.empty((0, len(self._generators), 1))
        self._used = 0

    def draw(self) -> NDArray[np.float64]:
        """Return the next number of each of the N sequences, (N, 1)."""
        if self._used == len(self._block):
            drawn = [generator.random(_DRAWN_AHEAD) for generator in self._generators]
            self._block = np.stack(drawn, axis=1)[..., None]
            self._used = 0
        numbers: NDArray[np.float64] = self._block[self._used]
        self._used += 1
        return numbers

    def keep(self, rows: IntArray) -> None:
        """Continue with the sequences that `rows` (M,) names."""
        self._generators = [self._generators[i] for i in rows]
        self._block = self._block[:, rows]


class Sampler:
    """The distribution to draw from; `generate` documents the arguments."""

    def __init__(self, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> None:
        self._temperature = checks.number("temperature", temperature, 0, sys.float_info.max)
        self._top_k = checks.count("top_k", top_k)
        self._top_p = checks.number("top_p", top_p, 0, 1)

    def draw(self, logits: NDArray[np.float64], uniforms: Uniforms) -> IntArray:
        """Draw a token for each sequence.

        Args:
            logits: (N, V), the largest of each row 0; they are overwritten.
            uniforms: The random numbers, of which one of each sequence is used unless the
                temperature is 0.
        """
        if self._temperature == 0:
            best: IntArray = logits.argmax(axis=1)
            return best
        limited = self._top_k or self._top_p < 1
        order = np.argsort(-logits, axis=1, kind="stable") if limited else None
        weights = logits
        if self._temperature != 1:
            weights /= max(self._temperature, 1e-300)  # less has no effect but overflow
        np.exp(weights, out=weights)
        if order is not None:
            self._cut(weights, order)
        np.add.accumulate(weights, axis=1, out=weights)
        drawn = broadcastable(uniforms.draw() * weights[:, -1:])
        tokens: IntArray = (weights > drawn).argmax(axis=1)
        return tokens

    def _cut(self, weights: NDArray[np.float64], order: IntArray) -> None:
        """Set weights (N, V) to 0 that are not among the largest; `order` ranks them."""
        rows = np.arange(len(weights))[:, None]
        if self._top_k:
            weights[rows, order[:, self._top_k :]] = 0.0
        if self._top_p < 1:
            ranked = weights[rows, order]
            sums = ranked.cumsum(axis=1)
            enough = sums[:, :-1] >= self._top_p * sums[:, -1:]  # without the next one
            ranked[:, 1:][enough] = 0.0
            weights[rows, order] = ranked


def generate(
    step: Step,
    start: ArrayLike,
    state: Any = None,
    *,
    length: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    stop: Stop = (),
    seed: int | None = None,
    axes: Axes = 0,
) -> Iterator[tuple[IntArray, IntArray]]:
    """Sample sequences side by side, and yield their tokens as soon as they are drawn.

    Each sequence has its own random numbers, which depend on the seed and on its place in the
    batch, so what is written does not depend on the other sequences. The first sequence has those
    of a batch of one with the same seed.

    Args:
        step: A `Stream` from tokens to logits, of which a copy is used; or a function `step(tokens,
            state)` that takes tokens (N,) as an int64 array of NumPy and the state of N sequences,
            and returns logits (N, V), as an array or a tensor of PyTorch, and the state after the
            tokens. N falls when sequences end. Logits of -inf exclude tokens.
        start: (B,), the token of each sequence to start from, which is not repeated: one that marks
            the start, or the last one of a text whose other tokens the state has seen.
        state: The state of the B sequences before `start`: None, or arrays, tensors and streams in
            nested tuples, lists and dicts. It must be None for a stream.
        length: The number of tokens after which all sequences end; None for no limit.
        temperature: Divisor of the logits; 0 always takes the most likely token (greedy decoding).
        top_k: The number of most likely tokens to draw from; 0 for all.
        top_p: Draw from the smallest set of most likely tokens whose probabilities, at this
            temperature and among the top k, sum up to at least `top_p`; 1 for all (nucleus
            sampling; Holtzman et al. 2020, "The curious case of neural text degeneration").
        stop: A token, or several in a row, with which a sequence ends; empty for none.
        seed: Seed of the draws; None draws a random seed.
        axes: The axis of the state's arrays that counts the sequences. An integer is for all of
            them; for different ones, give the structure of the state with integers in place of
            arrays. None is for what all sequences share, which stays as it is.

    Yields:
        After each step, the numbers in [0, B) of the N sequences that have not ended before, and
        their next tokens, (N,) each. Do not write to them.

    Raises:
        ValueError: An argument is out of range or has another shape than the others; or, during
            generation, the logits have another shape, or a row whose largest one is not finite.
        TypeError: An argument is of the wrong type.
    """
    rows = OpenRows(step, start, state, axes)
    return _generated(
        rows,
        Sampler(temperature, top_k, top_p),
        uniforms(seed, len(rows.start)),
        None if length is None else checks.count("length", length),
        stop_tokens(stop),
    )


def sample(
    step: Step,
    start: ArrayLike,
    state: Any = None,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    stop: Stop = (),
    seed: int | None = None,
    axes: Axes = 0,
) -> list[IntArray]:
    """Sample sequences side by side.

    Arguments and errors are those of `generate`, except that `length` cannot be None.

    Returns:
        The tokens of each of the B sequences, including those of `stop` if it ends with them.
    """
    steps = generate(
        step,
        start,
        state,
        length=checks.count("length", length),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        stop=stop,
        seed=seed,
        axes=axes,
    )
    written: list[list[int]] = [[] for _ in np.asarray(start)]
    for numbers, tokens in steps:
        for number, token in zip(numbers.tolist(), tokens.tolist(), strict=True):
            written[number].append(token)
    return [np.array(tokens, np.int64) for tokens in written]


def uniforms(seed: int | None, count: int) -> Uniforms:
    """Return the random numbers of `count` sequences, as `generate` says."""
    root = np.random.SeedSequence(seeds.chosen(seed))
    return Uniforms([np.random.default_rng(s) for s in (root, *root.spawn(count - 1))])


def _generated(
    rows: OpenRows,
    sampler: Sampler,
    uniforms: Uniforms,
    length: int | None,
    stop: IntArray,
) -> Iterator[tuple[IntArray, IntArray]]:
    tokens, numbers = rows.start, np.arange(len(rows.start))
    tail = np.empty((len(tokens), 0), np.int64)
    for _ in repeat(None) if length is None else repeat(None, length):
        tokens = sampler.draw(rows.logits(tokens), uniforms)
        yield numbers, tokens
        if not stop.size:
            continue
        tail = np.column_stack([tail, tokens])[:, -stop.size :]
        left = np.flatnonzero(~ends(tail, stop))
        if not left.size:
            return
        if left.size < numbers.size:
            rows.keep(left)
            tokens, numbers, tail = tokens[left], numbers[left], tail[left]
            uniforms.keep(left)
