"""Arrays of other real types are converted to the dtype of the weights wherever they are passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rnnfast
from rnnfast import functional

OTHER = ["float16", "float32", "float64", "longdouble", "bool", "int8", "int64", "bfloat16"]


def small(*shape: int) -> np.ndarray:
    """Return zeros and ones, which all types can hold."""
    return np.random.default_rng(len(shape)).integers(0, 2, shape).astype("float64")


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)


def layer_results(kind: Callable[..., Any], dtype: str, given: str) -> list[Any]:
    """Return everything that a recurrent layer of `dtype` computes from arrays of type `given`."""
    layer = kind(3, 5, 2, dtype=dtype, seed=1)
    x, y, h = (cast(small(*s), given) for s in ((4, 2, 3), (4, 2, 5), (2, 2, 5)))
    state = (h, h) if kind is rnnfast.LSTM else h
    out, final = layer(x, state)
    dx, dstate = layer.backward(y, state)
    stream = layer.stream(2, state)
    found = [out, *final, dx, *dstate, stream(x[0]), *(p.grad for p in layer.parameters())]
    states = state if isinstance(state, tuple) else (state,)
    for training in (True, False):
        result = functional.forward(
            layer.cell, x, layer._weights, states, num_layers=2, training=training
        )
        found += [result[0], *result[1]]
        if training:
            dx, dstates, grads = functional.backward(result[2], y, states)
            found += [dx, *dstates, *(g for w in grads for g in w if g is not None)]
    return found


@pytest.mark.parametrize("given", OTHER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [rnnfast.LSTM, rnnfast.GRU])
def test_recurrent_layers_convert_what_they_are_given(kind: Any, dtype: str, given: str) -> None:
    for got, expected in zip(
        layer_results(kind, dtype, given), layer_results(kind, dtype, dtype), strict=True
    ):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("given", OTHER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_layers_and_tables_convert_what_they_are_given(dtype: str, given: str) -> None:
    def results(given: str) -> list[Any]:
        linear = rnnfast.Linear(3, 5, dtype=dtype, seed=1)
        table = rnnfast.Embedding(4, 5, dtype=dtype, seed=1)
        y = linear(cast(small(4, 3), given))
        dx = linear.backward(cast(small(4, 5), given))
        table(np.arange(4))
        table.backward(cast(small(4, 5), given))
        return [y, dx, *(p.grad for m in (linear, table) for p in m.parameters())]

    for got, expected in zip(results(given), results(dtype), strict=True):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("given", OTHER)
def test_losses_compute_in_a_type_that_holds_the_logits(given: str) -> None:
    logits, targets = small(3, 5), np.array([0, 4, 1])
    wide = given in ("float64", "longdouble", "int64")
    dtype = "float64" if wide else "float32"
    loss, dlogits = rnnfast.softmax_cross_entropy(cast(logits, given), targets)
    assert dlogits.dtype == dtype
    expected = rnnfast.softmax_cross_entropy(logits.astype(dtype), targets)
    assert loss == expected[0] == rnnfast.cross_entropy(cast(logits, given), targets)
    np.testing.assert_array_equal(dlogits, expected[1])


@pytest.mark.parametrize("given", ["float16", "bfloat16"])
def test_functions_take_weights_of_half_precision_as_float32(given: str) -> None:
    half = [functional.Weights(*(cast(small(*s), given) for s in ((15, 3), (15, 5))))]
    single = [functional.Weights(*(w.astype("float32") for w in half[0][:2]))]
    x = small(4, 2, 3)
    for weights in (half, functional.pack("gru", half)):
        got = functional.forward("gru", x, weights)
        assert got[0].dtype == "float32"
        np.testing.assert_array_equal(got[0], functional.forward("gru", x, single)[0])


def test_float64_is_rounded_once_and_lists_are_taken() -> None:
    layer = rnnfast.GRU(3, 5, seed=1).eval()
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    y = layer(x.astype("float32"))[0]
    for same in (x, x.tolist(), np.asfortranarray(x), x.astype(">f8")):
        np.testing.assert_array_equal(layer(same)[0], y)


@pytest.mark.parametrize("dtype", ["complex64", "object", "U3", "M8[s]", "m8[s]", "V4"])
def test_what_holds_no_real_numbers_is_refused_by_name(dtype: str) -> None:
    layer, linear = rnnfast.GRU(3, 5, seed=1), rnnfast.Linear(3, 5, seed=1)
    x, h, y = (np.zeros(s, dtype) for s in ((4, 2, 3), (1, 2, 5), (4, 2, 5)))
    real = np.zeros((4, 2, 3), "float32")
    layer(real)
    linear(real)
    table = rnnfast.Embedding(4, 5)
    table(np.zeros((4, 2), int))
    calls: list[tuple[str, Callable[[], object]]] = [
        ("x", lambda: layer(x)),
        ("state", lambda: layer(real, h)),
        ("x", lambda: linear(x)),
        ("x", lambda: layer.stream(2)(x[0])),
        ("state", lambda: layer.stream(2, h)),
        ("dy", lambda: layer.backward(y)),
        ("dstate", lambda: layer.backward(None, h)),
        ("dy", lambda: linear.backward(y)),
        ("dy", lambda: table.backward(y)),
        ("logits", lambda: rnnfast.cross_entropy(y, np.zeros((4, 2), int))),
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match=f"^{name}: expected real numbers to convert"):
            call()
