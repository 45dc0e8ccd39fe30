"""Beam search for the most likely sequences of a model that predicts the next token."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import checks
from rnnfast._engine.checks import IntArray
from rnnfast.decoding.rows import Axes, OpenRows, Step
from rnnfast.decoding.stop import Stop, ends, stop_tokens


class Hypothesis(NamedTuple):
    """A sequence that beam search found.

    Attributes:
        tokens: (T,), including the stop tokens if it ends with them.
        log_probability: The sum of the log-probabilities of its tokens.
        score: The normalised log-probability, by which hypotheses are ranked.
    """

    tokens: IntArray
    log_probability: float
    score: float


class _Beams(NamedTuple):
    """Sequences of one or more inputs that may grow.

    Attributes:
        written: (N, T), their tokens.
        log_probabilities: (N,)
        origins: (N,), the row of the last step that each continues.
    """

    written: IntArray
    log_probabilities: NDArray[np.float64]
    origins: IntArray


def beam_search(
    step: Step,
    start: ArrayLike,
    state: Any = None,
    *,
    beams: int,
    length: int,
    stop: Stop = (),
    length_penalty: float = 0.0,
    axes: Axes = 0,
) -> list[list[Hypothesis]]:
    """Search for the sequences with the largest scores.

    In each step every open beam of an input is extended by every token. Of these candidates, those
    that end and are among the `beams` most likely become hypotheses, and the `beams` most likely of
    the others stay open. The score of a sequence of T tokens is

        log P / ((5 + T) / 6) ** length_penalty

    (Wu et al. 2016, "Google's neural machine translation system", equation 14, without coverage).
    The search of an input ends at `length`, or when no open beam can lead to one of the `beams`
    best hypotheses: a beam's log P never rises and the divisor grows with T, so no continuation of
    a beam scores higher than its log P over the divisor of `length` tokens.

    Args:
        step: A `Stream` from tokens to logits, of which a copy is used; or a function as `generate`
            describes it, where N is the number of open beams of all inputs.
        start: (B,), the token to start from for each of B inputs, which is not repeated.
        state: The state of the B inputs before `start`, as `generate` describes it.
        beams: The number of open beams of an input, and the largest number of its hypotheses. With
            1 and no length penalty, the search takes the most likely token in every step.
        length: The number of tokens, at least 1, after which all sequences end.
        stop: A token, or several in a row, with which a sequence ends; empty for none.
        length_penalty: The exponent, at least 0; 0 ranks by probability, and larger values favour
            longer sequences.
        axes: The axis of the state's arrays that counts the sequences, as `generate` describes it.

    Returns:
        For each of the B inputs, up to `beams` hypotheses, best first.

    Raises:
        ValueError: An argument is out of range or has another shape than the others; or the logits
            have another shape, or a row whose largest one is not finite.
        TypeError: An argument is of the wrong type.
    """
    rows = OpenRows(step, start, state, axes)
    limits = (
        checks.positive_int("beams", beams),
        checks.positive_int("length", length),
        stop_tokens(stop),
        checks.finite("length_penalty", length_penalty, 0),
    )
    inputs = [_Input(*limits) for _ in rows.start]
    tokens, owners = rows.start, np.arange(len(inputs))
    here = _Beams(np.empty((len(inputs), 0), np.int64), np.zeros(len(inputs)), owners)
    while True:
        logits = rows.logits(tokens)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        sums = here.log_probabilities[:, None] + logits
        grown = [
            inputs[owner].extend(here.written, sums, np.flatnonzero(owners == owner))
            for owner in np.unique(owners)
        ]
        here = _Beams._make(np.concatenate(parts) for parts in zip(*grown, strict=True))
        if not here.origins.size:
            return [one.hypotheses for one in inputs]
        rows.keep(here.origins)
        tokens, owners = here.written[:, -1].copy(), owners[here.origins]


class _Input:
    """The search of one input.

    Attributes:
        hypotheses: The best ones found so far, best first.
    """

    def __init__(self, beams: int, length: int, stop: IntArray, length_penalty: float) -> None:
        self._beams, self._length, self._stop = beams, length, stop
        self._length_penalty = length_penalty
        self.hypotheses: list[Hypothesis] = []

    def extend(self, written: IntArray, sums: NDArray[np.float64], rows: IntArray) -> _Beams:
        """Take a step.

        Args:
            written: (N, T), the tokens of the beams of all inputs.
            sums: (N, V), the log-probabilities of the beams with each next token.
            rows: The numbers of this input's beams.

        Returns:
            The beams that stay open; none if the search has ended.
        """
        # A beam ends with one token at most, so these have enough candidates that do not end.
        best = _largest(sums[rows].ravel(), 2 * self._beams)
        origins, tokens = rows[best // sums.shape[1]], best % sums.shape[1]
        candidates = _Beams(
            np.column_stack([written[origins], tokens]), sums[origins, tokens], origins
        )
        done = ends(candidates.written, self._stop)
        done |= candidates.written.shape[1] == self._length
        self._finish(candidates, np.flatnonzero(done[: self._beams]))
        left = np.flatnonzero(~done)[: self._beams]
        if self._is_settled(candidates.log_probabilities[left]):
            left = left[:0]
        return _Beams._make(part[left] for part in candidates)

    def _finish(self, candidates: _Beams, which: IntArray) -> None:
        divisor = self._divisor(candidates.written.shape[1])
        for i in which:
            value = float(candidates.log_probabilities[i])
            found = Hypothesis(candidates.written[i].copy(), value, value / divisor)
            self.hypotheses.append(found)
        self.hypotheses.sort(key=lambda found: -found.score)
        del self.hypotheses[self._beams :]

    def _is_settled(self, log_probabilities: NDArray[np.float64]) -> bool:
        """Return whether no beam with these log-probabilities leads to a better hypothesis."""
        if len(self.hypotheses) < self._beams or not log_probabilities.size:
            return False
        bound = log_probabilities.max() / self._divisor(self._length)
        return bool(bound <= self.hypotheses[-1].score)

    def _divisor(self, size: int) -> float:
        return float(((5 + size) / 6) ** self._length_penalty)


def _largest(values: NDArray[np.float64], count: int) -> IntArray:
    """Return the places of the largest values that are not -inf, up to `count`, largest first."""
    places = np.arange(len(values))
    if count < len(values):
        places = np.sort(np.argpartition(-values, count - 1)[:count])
    places = places[np.argsort(-values[places], kind="stable")]
    return places[values[places] > -np.inf]
