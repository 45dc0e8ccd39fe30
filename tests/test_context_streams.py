"""Contexts in streams and pools, which keep one for each sequence."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import rnnfast
from layer_cases import listed

T, B, I, H, C = 6, 3, 4, 9, 5


def layer_and_data(
    cell: str = "lstm", **options: Any
) -> tuple[rnnfast.Recurrent, np.ndarray, np.ndarray]:
    layer = rnnfast.Recurrent(cell, I, H, 2, context_size=C, seed=1, **options).eval()
    rng = np.random.default_rng(2)
    x, v = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, C))
    return layer, x.astype(layer.dtype), v.astype(layer.dtype)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("lstm", {"learn_state": True, "zoneout": 0.3}),
        ("lstm", {"proj_size": 3}),
        ("gru", {"precision": "bfloat16"}),
        ("peephole_lstm", {"dtype": "float64"}),
        ("janet", {}),
    ],
    ids=str,
)
def test_steps_have_the_bits_of_the_layer(cell: str, options: dict[str, Any]) -> None:
    layer, x, v = layer_and_data(cell, **options)
    y, state = layer(x, context=v[0])
    stream = layer.stream(B)
    for t in range(T):
        np.testing.assert_array_equal(stream(x[t], context=v[0] if t == 0 else None), y[t])
    for got, expected in zip(listed(stream.state), listed(state), strict=True):
        np.testing.assert_array_equal(got, expected)
    y, _ = layer(x, context=v)
    stream.reset()
    for t in range(T):
        np.testing.assert_array_equal(stream(x[t], context=v[t].tolist()), y[t])


def test_a_sequence_takes_its_context_along() -> None:
    layer, x, v = layer_and_data()
    y, _ = layer(x, context=v[0])
    stream = layer.stream(B)
    stream(x[0], context=v[0])
    other = layer.stream(4)
    other.put(stream.take([2, 0]), [0, 3])
    np.testing.assert_array_equal(other(x[1, [2, 0]], [0, 3]), y[1, [2, 0]])
    for twin in (stream.copy([1, 1]), pickle.loads(pickle.dumps(stream.copy([1, 1])))):
        np.testing.assert_array_equal(twin(x[1, [1, 1]]), y[1, [1, 1]])
    copied = copy.deepcopy(stream)
    copied.resize(2)
    np.testing.assert_array_equal(copied(x[1, :2]), y[1, :2])
    stream.state = stream.state
    np.testing.assert_array_equal(stream(x[1]), y[1])


def test_some_sequences_get_another_context() -> None:
    layer, x, v = layer_and_data()
    both = v.copy()
    both[:] = v[0]
    both[2:, 1] = v[1, 1]
    y, _ = layer(x, context=both)
    stream = layer.stream(B)
    stream(x[0], context=v[0])
    stream(x[1])
    np.testing.assert_array_equal(stream(x[2, [1]], [1], v[1, [1]]), y[2, [1]])
    np.testing.assert_array_equal(stream(x[2, [2, 0]], [2, 0]), y[2, [2, 0]])
    np.testing.assert_array_equal(stream(x[3]), y[3])


def test_streams_keep_their_weights() -> None:
    layer, x, v = layer_and_data()
    y, _ = layer(x, context=v[0])
    stream = layer.stream(B)
    layer.train()
    layer.weight_ch_l1[...] = 0
    np.testing.assert_array_equal(stream(x[0], context=v[0]), y[0])


def test_models_pass_the_context_to_their_layers() -> None:
    layer, x, v = layer_and_data()
    linear = rnnfast.Linear(H, 2, seed=3).eval()
    stream = rnnfast.Sequential(layer, linear).stream(B)
    y = linear(layer(x, context=v[0])[0])
    np.testing.assert_array_equal(stream(x[0], context=v[0]), y[0])
    np.testing.assert_array_equal(stream(x[1]), y[1])


def test_a_missing_or_wrong_context_is_named() -> None:
    layer, x, v = layer_and_data()
    stream = layer.stream(B)
    missing = "context: expected one with the first step of a sequence, .* context_size = 5, got No"
    for wrong, error, message in (
        (None, ValueError, missing),
        (v[0, :2], ValueError, r"context: expected shape .*= \(3, 5\), got \(2, 5\)"),
        (v[0].astype(str), TypeError, "context: expected real numbers"),
    ):
        with pytest.raises(error, match=message):
            stream(x[0], context=wrong)
    stream(x[0, :2], [0, 1], v[0, :2])
    with pytest.raises(ValueError, match=missing):
        stream(x[0])
    stream(x[0, :2], [0, 1])
    stream.reset(1)
    with pytest.raises(ValueError, match=missing):
        stream(x[0, 1:2], [1])
    stream.resize(4)
    with pytest.raises(ValueError, match=missing):
        stream(x[0, :1], [3])
    plain = rnnfast.GRU(I, H).stream(B)
    with pytest.raises(ValueError, match="context: expected None, as no layer has a context_size"):
        plain(x[0], context=v[0])
    with pytest.raises(ValueError, match="state: expected the state of a stream with"):
        rnnfast.LSTM(I, H, 2).stream().put(stream.take(0))


def test_sessions_of_a_pool_have_a_context() -> None:
    layer, x, v = layer_and_data()
    y, _ = layer(x, context=v[0])
    with rnnfast.StreamPool(layer, 3) as pool:
        sessions = [pool.open(context=v[0, b].tolist()) for b in range(2)]
        for t in range(3):
            for b, session in enumerate(sessions):
                np.testing.assert_array_equal(session.step(x[t, b]), y[t, b])
        moved = pool.open(sessions[1].take())
        np.testing.assert_array_equal(moved.step(x[3, 1]), y[3, 1])
        moved.close()
        for given, message in (
            (None, "context: expected one with the first step of a sequence"),
            (v[0, :2], r"context: expected shape"),
        ):
            with pytest.raises(ValueError, match=message):
                pool.open(context=given)
        pool.open(context=v[0, 2])  # what was refused took no place
    with (
        rnnfast.StreamPool(rnnfast.GRU(I, H), 1) as plain,
        pytest.raises(ValueError, match="context: expected None, as no layer has a context_size"),
    ):
        plain.open(context=v[0, 0])
