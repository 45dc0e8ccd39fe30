"""Streams of whole models: steps with the bits of whole sequences, and models that have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnfast
from stream_cases import B, H, I, T, reals, steps


def model_with_everything(dtype: str) -> rnnfast.Sequential:
    options: Any = {"dtype": dtype, "seed": 1}
    norm = rnnfast.LayerNorm(H, dtype=dtype)
    norm.weight.value[:] = reals(H, seed=7, dtype=dtype)
    return rnnfast.Sequential(
        rnnfast.Embedding(20, I, **options),
        rnnfast.Dropout(0.5),
        rnnfast.GRU(I, H, **options),
        norm,
        rnnfast.SiLU(),
        rnnfast.Conv1d(H, 2 * H, 3, padding="causal", dilation=2, **options),
        rnnfast.Residual(
            rnnfast.Sequential(rnnfast.Linear(2 * H, 2 * H, **options), rnnfast.GELU())
        ),
        rnnfast.LSTM(2 * H, H, 2, learn_state=True, **options),
        rnnfast.Residual(rnnfast.Dropout(0.1)),
        rnnfast.GELU("tanh"),
        rnnfast.Linear(H, 7, bias=False, **options),
        rnnfast.ReLU(),
        rnnfast.Sequential(rnnfast.Tanh(), rnnfast.Sigmoid()),
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3, B, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_models_step_with_the_bits_of_whole_sequences(dtype: str, batch: int, threads: int) -> None:
    model = model_with_everything(dtype).eval()
    for number, state in enumerate(p for p in model.parameters() if "initial_state" in p.name):
        state.value[...] = reals(*state.shape, seed=number, dtype=dtype)
    x = np.random.default_rng(2).integers(0, 20, (T, batch))
    before = rnnfast.get_num_threads()
    rnnfast.set_num_threads(threads)
    try:
        stream = model.stream(batch)
        np.testing.assert_array_equal(steps(stream, x), model(x))
    finally:
        rnnfast.set_num_threads(before)
    h, window, (h_lstm, c) = stream.state
    assert window.shape == (4, batch, H)
    assert h.shape == (1, batch, H)
    assert h_lstm.shape == c.shape == (2, batch, H)


def test_a_large_model_has_the_bits_of_its_layers_on_several_threads() -> None:
    model = rnnfast.Sequential(
        rnnfast.LSTM(64, 300, seed=1), rnnfast.LayerNorm(300), rnnfast.Linear(300, 1100, seed=1)
    ).eval()
    x = reals(2, 70, 64)
    np.testing.assert_array_equal(steps(model.stream(70), x), model(x))


def test_models_start_with_any_layer_that_has_a_size() -> None:
    for first in (rnnfast.Linear(I, H), rnnfast.LayerNorm(I), rnnfast.Tanh()):
        rest = rnnfast.Linear(H if isinstance(first, rnnfast.Linear) else I, 3, seed=0)
        model = rnnfast.Sequential(first, rest).eval()
        x = reals(T, B, I)
        np.testing.assert_array_equal(steps(model.stream(B), x), model(x))


def test_the_step_of_a_model_follows_the_integers_of_one_hot_rows() -> None:
    model = rnnfast.Sequential(rnnfast.GRU(I, H, seed=0), rnnfast.Linear(H, 2, seed=0)).eval()
    x = np.random.default_rng(0).integers(0, I, (T, B))
    y = model(x)
    np.testing.assert_array_equal(steps(model.stream(B), x), y)
    np.testing.assert_array_equal(steps(model.stream(B), np.eye(I, dtype="f4")[x]), y)


@pytest.mark.parametrize("embedding_size", [0, 5])
def test_language_models_step_with_the_bits_of_whole_texts(embedding_size: int) -> None:
    from rnnfast.training import CharLM, CharLMConfig, Vocabulary

    config = CharLMConfig("gru", 11, 2, embedding_size=embedding_size)
    model = CharLM(Vocabulary("abcdefg"), config, seed=1)
    x = np.random.default_rng(0).integers(0, 7, (T, B))
    stream = model.stream(B)
    y, state = model.eval()(x)
    np.testing.assert_array_equal(steps(stream, x), y)
    np.testing.assert_array_equal(stream.state[0], state)


def test_models_that_cannot_go_step_by_step_say_why() -> None:
    gru, linear = rnnfast.GRU(I, H), rnnfast.Linear(H, 2)
    cases: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        (
            (rnnfast.GRU(I, H, bidirectional=True),),
            ValueError,
            "expected a layer with one direction",
        ),
        ((gru, rnnfast.Last()), ValueError, "can run step by step, got Last"),
        ((rnnfast.MergeDirections(),), ValueError, "can run step by step, got MergeDirections"),
        ((gru, rnnfast.MeanPool()), ValueError, "can run step by step, got MeanPool"),
        ((rnnfast.Conv1d(I, H, 3), gru), ValueError, "padding='causal'"),
        ((rnnfast.Conv1d(I, H, 3, padding="same"),), ValueError, "padding='causal'"),
        ((rnnfast.Conv1d(I, H, 3, 2, padding="causal"),), ValueError, "stride 1"),
        (
            (gru, rnnfast.Linear(H + 1, 2)),
            ValueError,
            f"layer 1 to take the {H} outputs of the previous",
        ),
        ((linear, rnnfast.Embedding(4, 2)), ValueError, "embedding to be the first layer"),
        ((gru, rnnfast.Linear(H, 2, dtype="f8")), TypeError, "one dtype, got float32 and float64"),
        ((rnnfast.Residual(linear),), ValueError, f"as many outputs as inputs, {H}, got 2"),
        ((rnnfast.Tanh(),), ValueError, "a layer that has weights"),
        ((), ValueError, "a layer that has weights"),
    ]
    for layers, error, message in cases:
        with pytest.raises(error, match=message):
            rnnfast.Sequential(*layers).stream()


def test_the_input_of_a_model_is_checked() -> None:
    model = rnnfast.Sequential(rnnfast.Embedding(4, I), rnnfast.GRU(I, H))
    stream = model.stream(2)
    for x, error, message in [
        (np.zeros((2, I), "f4"), ValueError, r"expected shape \(2,\) for indices, got \(2, 6\)"),
        (np.zeros(2, "f4"), TypeError, "x: expected an array of integers"),
        (np.array([0, 4]), IndexError, r"x: expected indices in .*\[0, 4\), got 4"),
        (np.array([0, 2**64 - 1], np.uint64), IndexError, "x: expected indices in"),
    ]:
        with pytest.raises(error, match=message):
            stream(x)
    np.testing.assert_array_equal(stream([1, 2]), model.stream(2)(np.array([1, 2], np.uint8)))
    of_values = rnnfast.Sequential(rnnfast.Linear(I, 2)).stream(2)
    with pytest.raises(ValueError, match=r"expected shape \(batch, input_size\) = \(2, 6\), got"):
        of_values(np.zeros(2, int))
    residual = rnnfast.Sequential(rnnfast.Residual(rnnfast.GRU(I, I))).stream(2)
    with pytest.raises(ValueError, match="x: expected real numbers, as a residual layer adds them"):
        residual(np.zeros(2, int))
