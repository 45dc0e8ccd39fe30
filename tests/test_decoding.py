"""Sampling and scheduled sampling: distributions, independence of rows, states and messages."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
from decoding_cases import first, step_of, table
from rnnfast.decoding import (
    exponential_probability,
    generate,
    inverse_sigmoid_probability,
    linear_probability,
    sample,
    scheduled_sampling,
)
from rnnfast.training import CharLM
from training_cases import SMALL, VOCABULARY


def constant(logits: Any) -> Any:
    """Return a step whose logits depend on nothing."""
    return lambda tokens, state: (np.tile(np.asarray(logits), (len(tokens), 1)), state)


def assert_drawn_from(counts: NDArray, probabilities: NDArray) -> None:
    """Apply Pearson's chi-square test, 5 standard deviations from its mean."""
    assert counts[probabilities == 0].sum() == 0
    possible = probabilities > 0
    expected = counts.sum() * probabilities[possible]
    statistic = ((counts[possible] - expected) ** 2 / expected).sum()
    freedom = possible.sum() - 1
    assert statistic <= freedom + 5 * math.sqrt(2 * freedom)


P = np.array([0.05, 0.4, 0.15, 0.1, 0.3])


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, P),
        ({"temperature": 0.5}, P**2),
        ({"temperature": 2.0}, P**0.5),
        ({"top_k": 3}, P * [0, 1, 1, 0, 1]),
        ({"top_k": 9}, P),
        ({"top_p": 0.69}, P * [0, 1, 0, 0, 1]),
        ({"top_p": 0.71}, P * [0, 1, 1, 0, 1]),
        ({"top_p": 1e-9}, P * [0, 1, 0, 0, 0]),
        ({"top_p": 0}, P * [0, 1, 0, 0, 0]),
        ({"temperature": 0}, P * [0, 1, 0, 0, 0]),
        # 0.4 and 0.3 are 0.82 of the first three, and P**2 makes them 0.86 of all.
        ({"top_k": 3, "top_p": 0.8}, P * [0, 1, 0, 0, 1]),
        ({"temperature": 0.5, "top_p": 0.85}, P**2 * [0, 1, 0, 0, 1]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_have_the_distribution(options: dict, weights: NDArray, dtype: str) -> None:
    logits = (np.log(P) + 3).astype(dtype)
    rows = sample(constant(logits), np.zeros(20, np.int64), length=500, seed=1, **options)
    counts = np.bincount(np.concatenate(rows), minlength=5)
    assert_drawn_from(counts, weights / weights.sum())


def test_sequences_have_the_distribution_of_the_model() -> None:
    model, length, B = table(3, 0), 3, 5_000
    start, before = np.ones(B, np.int64), np.zeros(B, np.int64)
    rows = np.stack(sample(step_of(model), start, first(before), length=length, seed=2))
    counts = np.bincount(rows @ [9, 3, 1], minlength=27)
    p = np.exp(model)
    p /= p.sum(axis=-1, keepdims=True)
    expected = np.einsum("a,ab,abc->abc", p[0, 0, 1], p[1, 1], p[2])
    assert_drawn_from(counts, expected.ravel())


def test_a_row_does_not_depend_on_the_others() -> None:
    model = table(6, 1, length=40)
    step, start, before = step_of(model), np.arange(6), first(np.zeros(6, np.int64))
    options: Any = {"length": 40, "stop": [2, 3], "seed": 7}
    together = sample(step, start, before, **options)
    assert len({len(tokens) for tokens in together}) > 2
    for tokens in together:
        assert len(tokens) == 40 or tokens[-2:].tolist() == [2, 3]
    for count in (1, 3):
        fewer = sample(step, start[:count], first(before[0][:count]), **options)
        for one, other in zip(fewer, together, strict=False):
            np.testing.assert_array_equal(one, other)
    others = sample(step, [0, 5, 2, 1, 1, 1], before, **options)
    for row in (0, 2):
        np.testing.assert_array_equal(others[row], together[row])
    same = sample(step, np.zeros(50, np.int64), first([0] * 50), length=10, seed=7)
    assert len({tuple(tokens) for tokens in same}) == 50


def test_the_first_row_has_the_random_numbers_of_the_seed() -> None:
    points = np.random.default_rng(3).random(100)
    expected = np.cumsum(P).searchsorted(points, side="right")
    for count in (1, 4):
        rows = sample(constant(np.log(P)), [0] * count, length=100, seed=3)
        np.testing.assert_array_equal(rows[0], expected)
    rnnfast.manual_seed(5)
    try:
        one, other = (sample(constant(np.log(P)), [0], length=100)[0] for _ in range(2))
        rnnfast.manual_seed(5)
        np.testing.assert_array_equal(sample(constant(np.log(P)), [0], length=100)[0], one)
    finally:
        rnnfast.manual_seed(None)
    assert (one != other).any()


def test_a_row_has_the_numbers_of_its_own_generator_until_it_ends() -> None:
    weights = np.array([0.01, 0.99])
    root = np.random.SeedSequence(2)
    rows = sample(constant(np.log(weights)), [1] * 9, length=300, stop=0, seed=2)
    for row, own in zip(rows, (root, *root.spawn(8)), strict=True):
        expected = np.cumsum(weights).searchsorted(np.random.default_rng(own).random(300))
        ended = np.flatnonzero(expected == 0)
        np.testing.assert_array_equal(row, expected[: ended[0] + 1] if len(ended) else expected)
    lengths = sorted(len(row) for row in rows)
    assert len(set(lengths)) > 3
    assert lengths[0] < 100 < 200 < lengths[-1]


def test_a_step_s_logits_stay_as_they_are() -> None:
    logits = np.log(np.stack([P, P[::-1]]))
    given = logits.copy()
    sample(lambda _tokens, state: (logits, state), [0, 0], length=5, seed=0)
    np.testing.assert_array_equal(logits, given)


def test_rows_that_have_ended_are_left_out_of_later_steps() -> None:
    sizes = []

    def step(tokens: Any, count: Any) -> Any:
        sizes.append(len(tokens))
        logits = np.zeros((len(tokens), 10))
        logits[np.arange(len(tokens)), tokens + 1] = 99
        return logits, {"steps": [count["steps"][0] + 1]}

    state = {"steps": [np.array([5, 2, 0])]}
    steps = list(generate(step, [6, 1, 4], state, stop=8, temperature=0))
    assert [(n.tolist(), t.tolist()) for n, t in steps][:3] == [
        ([0, 1, 2], [7, 2, 5]),
        ([0, 1, 2], [8, 3, 6]),
        ([1, 2], [4, 7]),
    ]
    assert sizes == [3, 3, 2, 2, 1, 1, 1]
    assert steps[-1][1].tolist() == [8]
    assert state["steps"][0].tolist() == [5, 2, 0]


def test_a_stream_is_sampled_like_the_model_and_stays_as_it_is() -> None:
    model = CharLM(VOCABULARY, SMALL, seed=0).eval()
    four, start = model.primed("def f(", 4)
    before = four.take().values
    rows = sample(four, start, length=50, temperature=0.8, top_p=0.9, seed=3)
    text = model.sample(50, "def f(", temperature=0.8, top_p=0.9, seed=3)
    assert VOCABULARY.decode(rows[0]) == text
    assert len({tuple(tokens) for tokens in rows}) == 4
    np.testing.assert_array_equal(four.take().values, before)
    one = model.stream()
    for token in VOCABULARY.encode("def f"):
        one([token])
    np.testing.assert_array_equal(one.take().values.repeat(4, axis=0), before)


class Pair(NamedTuple):
    left: Any
    right: Any


def test_states_of_any_structure_follow_their_rows() -> None:
    table_of = np.full((3, 4), -np.inf)
    model = rnnfast.GRU(2, 3, seed=0).eval()

    def step(tokens: Any, state: Any) -> Any:
        (one, shared), pair = state
        np.testing.assert_array_equal(one[:, 0], pair.left[0, :, 1])
        assert shared is table_of
        assert pair.right[0].batch == len(tokens)
        assert pair.right[1] is None
        pair.right[0](np.ones((len(tokens), 2)))
        logits = np.full((len(tokens), 9), -np.inf)
        logits[np.arange(len(tokens)), one[:, 0]] = 0
        return logits, state

    tags = np.array([4, 7, 2])
    pair = Pair(np.tile(tags[None, :, None], (2, 1, 2)), [model.stream(3), None])
    axes: Any = [(0, None), (1, 0)]
    state = [(tags[:, None], table_of), pair]
    rows = sample(step, [0, 0, 0], state, length=4, stop=7, axes=axes)
    assert [tokens.tolist() for tokens in rows] == [[4] * 4, [7], [2] * 4]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"temperature": -1}, ValueError, "temperature: expected"),
        ({"temperature": math.inf}, ValueError, "temperature: expected"),
        ({"top_k": -1}, ValueError, "top_k: expected at least 0, got -1"),
        ({"top_p": 1.5}, ValueError, r"top_p: expected a number in \[0, 1\], got 1.5"),
        ({"top_p": None}, TypeError, "top_p: expected a number, got NoneType"),
        ({"length": -1}, ValueError, "length: expected at least 0, got -1"),
        ({"length": None}, TypeError, "length: expected an integer, got NoneType"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"stop": 0.5}, TypeError, "stop: expected an array of integers, got dtype float64"),
        ({"stop": [[1]]}, ValueError, r"stop: .* several in a row, got shape \(1, 1\)"),
        ({"start": []}, TypeError, "start: expected an array of integers"),
        ({"start": 1}, ValueError, r"start: expected shape \(batch,\), got \(\)"),
        ({"start": [1]}, ValueError, r"state: expected 1 sequences on axis 0, got shape \(2,\)"),
        ({"state": [[3, 4]]}, TypeError, r"state\[0\]\[0\]: expected an array, a tensor or a"),
        ({"axes": (0, 0)}, TypeError, "axes: expected an integer, got tuple"),
        ({"state": {"h": None}, "axes": (0,)}, ValueError, r"axes: .* each of \['h'\] of state"),
        ({"state": rnnfast.GRU(2, 3).stream()}, ValueError, "state: expected 2 sequences, got"),
        (
            {"step": rnnfast.GRU(3, 3).stream(2)},
            TypeError,
            "state: expected None, as a stream holds its own, got ndarray",
        ),
        (
            {"step": rnnfast.GRU(3, 3).stream(3), "state": None},
            ValueError,
            r"start: expected shape \(batch,\) = \(3,\), got \(2,\)",
        ),
        (
            {"step": lambda tokens, _: np.zeros((len(tokens), 3))},
            TypeError,
            r"step: expected \(logits, state\), got ndarray",
        ),
        (
            {"step": lambda _, state: (np.zeros(3), state)},
            ValueError,
            r"step: expected logits of shape \(2, vocabulary\), got \(3,\)",
        ),
        (
            {"step": lambda _, state: (np.full((2, 3), np.nan), state)},
            ValueError,
            "step: the model's logits are not finite: the largest of a row is nan",
        ),
        ({"step": constant([-np.inf, -np.inf])}, ValueError, "logits are not finite.* is -inf"),
        ({"step": constant([0, np.inf])}, ValueError, "logits are not finite.* is inf"),
    ],
)
def test_sampling_refuses(changes: dict, error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"step": step_of(table(3, 0)), "start": [0, 1]}
    arguments |= {"state": np.array([0, 0]), "length": 3}
    with pytest.raises(error, match=message):
        sample(**(arguments | changes))


def test_arguments_are_checked_before_the_first_token_is_asked_for() -> None:
    with pytest.raises(ValueError, match="top_p: expected"):
        generate(constant([0, 0]), [0], top_p=2)


# ---- scheduled sampling


def after(tokens: Any, state: Any) -> Any:
    """Predict (token + 1) % 10 with certainty."""
    logits = np.full((len(tokens), 10), -np.inf)
    logits[np.arange(len(tokens)), (tokens + 1) % 10] = 0
    return logits, state


@pytest.mark.parametrize("probability", [0, 0.25, 0.9])
def test_inputs_are_kept_or_follow_from_the_mixed_ones(probability: float) -> None:
    T, B = 60, 80
    inputs = np.random.default_rng(0).integers(0, 10, (T, B))
    original = inputs.copy()
    mixed = scheduled_sampling(after, inputs, probability=probability, seed=4)
    np.testing.assert_array_equal(inputs, original)
    np.testing.assert_array_equal(mixed[0], inputs[0])
    drawn = (mixed[:-1] + 1) % 10
    kept = mixed[1:] != drawn
    np.testing.assert_array_equal(mixed[1:][kept], inputs[1:][kept])
    expected = 0.9 * probability * drawn.size  # a tenth of the inputs is what is drawn
    assert abs(kept.sum() - expected) <= 5 * math.sqrt(drawn.size / 4)
    fewer = scheduled_sampling(after, inputs[:, :3], probability=probability, seed=4)
    np.testing.assert_array_equal(fewer, mixed[:, :3])


def test_inputs_that_are_drawn_have_the_distribution_of_the_model() -> None:
    logits = np.log(P)
    inputs = np.zeros((401, 50), np.int64)
    mixed = scheduled_sampling(constant(logits), inputs, probability=0.5, seed=0)
    expected = P / 2
    expected[0] += 0.5
    assert_drawn_from(np.bincount(mixed[1:].ravel(), minlength=5), expected)


def test_a_probability_of_one_keeps_all_and_takes_no_steps() -> None:
    inputs = np.arange(12).reshape(4, 3)
    mixed = scheduled_sampling(lambda *_: pytest.fail("a step"), inputs, probability=1)
    np.testing.assert_array_equal(mixed, inputs)
    assert mixed is not inputs


def test_a_stream_draws_what_the_layers_would_predict() -> None:
    """The draws equal those from the logits of one call over the mixed inputs."""
    model = CharLM(VOCABULARY, SMALL, seed=0).eval()
    inputs = np.random.default_rng(0).integers(0, len(VOCABULARY), (30, 4))
    mixed = scheduled_sampling(model.stream(4), inputs, probability=0.5, seed=1)
    logits, _ = model(mixed)
    given = iter(logits)
    again = scheduled_sampling(
        lambda _, state: (next(given), state), inputs, probability=0.5, seed=1
    )
    np.testing.assert_array_equal(again, mixed)
    assert 0.3 < (mixed != inputs).mean() < 0.7


def test_probabilities_follow_the_paper() -> None:
    assert [linear_probability(i, slope=0.25, least=0.1) for i in (0, 2, 9)] == [1, 0.5, 0.1]
    assert linear_probability(2, slope=0.25, start=0.75) == 0.25
    assert [exponential_probability(i, base=0.5) for i in (0, 1, 3)] == [1, 0.5, 0.125]
    for i in (0, 7, 300):
        expected = 20 / (20 + math.exp(i / 20))
        assert inverse_sigmoid_probability(i, scale=20) == pytest.approx(expected, rel=1e-14)
    assert inverse_sigmoid_probability(10**9, scale=1) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: linear_probability(-1, slope=1), ValueError, "step: expected at least 0"),
        (lambda: linear_probability(1, slope=-1), ValueError, "slope: expected"),
        (lambda: linear_probability(1, slope=1, start=2), ValueError, "start: expected"),
        (lambda: linear_probability(1, slope=1, start=0.5, least=0.6), ValueError, "least: exp"),
        (lambda: exponential_probability(1, base=1), ValueError, r"base: .* in \[0, 1\), got 1"),
        (lambda: exponential_probability(1.5, base=0.5), TypeError, "step: expected an integer"),
        (lambda: inverse_sigmoid_probability(1, scale=0.5), ValueError, "scale: expected"),
        (lambda: scheduled_sampling(after, [1], probability=1), ValueError, r"inputs: .* \(1,\)"),
        (lambda: scheduled_sampling(after, [[1]], probability=2), ValueError, "probability: exp"),
        (lambda: scheduled_sampling(after, [[0.5]], probability=1), TypeError, "inputs: expected"),
    ],
)
def test_scheduled_sampling_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
