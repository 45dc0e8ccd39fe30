"""Scheduled sampling: training on inputs some of which the model itself has written.

Source: Bengio et al. 2015, "Scheduled sampling for sequence prediction with recurrent neural
networks".
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import IntArray
from rnnfast.decoding.rows import Axes, OpenRows, Step
from rnnfast.decoding.sampling import Sampler, uniforms


def scheduled_sampling(
    step: Step,
    inputs: ArrayLike,
    state: Any = None,
    *,
    probability: float,
    seed: int | None = None,
    axes: Axes = 0,
) -> IntArray:
    """Replace some of the inputs of a training step by tokens that the model draws.

    The first token of a sequence is kept. Each later one is kept with the given probability, and
    otherwise drawn from what the model predicts after the inputs before it, drawn ones included.
    Train on the result with the targets as they are. No gradient flows through a draw, so this
    equals sampling inside the training step, as long as the step computes what the trained layers
    compute; dropout, for which a step draws masks of its own or none, is the exception.

    Args:
        step: A `Stream` of the model with its present weights, or a function as `generate`
            describes it, which should record no gradients.
        inputs: (T, B) tokens.
        state: The state of the B sequences before the inputs, as `generate` describes it.
        probability: The probability in [0, 1] with which an input is kept; 1 takes no steps.
        seed: Seed of the draws, a new one for each training step; None draws a random seed.
        axes: The axis of the state's arrays that counts the sequences, as `generate` describes it.

    Returns:
        The tokens (T, B) to train on.

    Raises:
        ValueError: An argument is out of range or has another shape than the others; or the logits
            have another shape, or a row whose largest one is not finite.
        TypeError: An argument is of the wrong type.
    """
    probability = checks.number("probability", probability, 0, 1)
    given = backends.given("inputs", inputs)
    if given.ndim != 2 or not given.size:
        raise ValueError(f"inputs: expected shape (seq_len, batch), got {given.shape}")
    mixed: IntArray = checks.integer_array("inputs", given).copy()
    rows, sampler = OpenRows(step, mixed[0].copy(), state, axes), Sampler()
    own = uniforms(seed, mixed.shape[1])
    if probability == 1:
        return mixed
    for before, tokens in pairwise(mixed):
        drawn = sampler.draw(rows.logits(before.copy()), own)
        replaced = own.draw()[:, 0] >= probability
        tokens[replaced] = drawn[replaced]
    return mixed


def linear_probability(step: int, *, slope: float, start: float = 1.0, least: float = 0.0) -> float:
    """Return max(least, start - slope * step), a probability for `scheduled_sampling`.

    Args:
        step: The number of training steps so far.
        slope: By how much the probability falls in a step, at least 0.
        start: The probability of the first step, in [0, 1].
        least: The smallest probability, in [0, start].

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is of the wrong type.
    """
    start = checks.number("start", start, 0, 1)
    least = checks.number("least", least, 0, start)
    return max(least, start - checks.finite("slope", slope, 0) * checks.count("step", step))


def exponential_probability(step: int, *, base: float) -> float:
    """Return base ** step, a probability for `scheduled_sampling`.

    Args:
        step: The number of training steps so far.
        base: The factor of a step, in [0, 1).

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is of the wrong type.
    """
    return checks.number("base", base, 0, 1, open_high=True) ** checks.count("step", step)


def inverse_sigmoid_probability(step: int, *, scale: float) -> float:
    """Return k / (k + exp(step / k)) for k = scale, a probability for `scheduled_sampling`.

    It stays near k / (k + 1) at first and is 1/2 after k ln(k) steps.

    Args:
        step: The number of training steps so far.
        scale: k, at least 1.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is of the wrong type.
    """
    k = checks.finite("scale", scale, 1)
    decayed = k * math.exp(-checks.count("step", step) / k)  # exp(step / k) would overflow
    return decayed / (decayed + 1)
