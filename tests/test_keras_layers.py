"""The layers of `rnnfast.keras` against Keras's own, with the backend JAX and then with PyTorch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BACKEND = os.environ["KERAS_BACKEND"]
for package in (BACKEND, "keras"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import keras  # noqa: E402

import rnnfast.keras  # noqa: E402
from exchange_cases import jax_in_32_bits  # noqa: E402, F401  # a fixture
from rnnfast.keras import engine, layers  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("jax_in_32_bits"),
    # Variables of Keras 3.15 lack an argument that NumPy 2 passes.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
I, H, B, T = 5, 7, 3, 6
NAMES = "LSTM", "GRU", "SimpleRNN"
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"return_state": True}) for name in NAMES),
    ("LSTM", {"use_bias": False, "return_sequences": False}),
    ("LSTM", {"dropout": 0.5}),
    ("GRU", {"go_backwards": True}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"use_bias": False, "dropout": 0.3}),
    ("SimpleRNN", {"unroll": True, "go_backwards": True}),
    ("SimpleRNN", {"activation": "relu"}),
]
TOLERANCE = 2e-6  # of the largest value: sums of about ten float32 products through six steps


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    """Return a layer of Keras and one of rnnfast with the same weights and random biases."""
    options = {"return_sequences": True, "seed": 3} | options
    found = [getattr(module, name)(H, **options) for module in (keras.layers, rnnfast.keras)]
    rng = np.random.default_rng(0)
    for layer in found:
        layer.build((B, T, I))
    values = [rng.normal(0, 0.5, weight.shape) for weight in found[0].get_weights()]
    for layer in found:
        layer.set_weights(values)
    return found[0], found[1]


def data() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(B, T, I)).astype(np.float32)


def arrays(values: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(values)]


def gradients(layer: Any, x: np.ndarray, **call: Any) -> list[np.ndarray]:
    """Return the gradients of x and of the weights of a loss of everything that a call returns."""

    def loss_of(results: Any) -> Any:
        return sum(keras.ops.sum(keras.ops.sin(r + 1)) for r in keras.tree.flatten(results))

    if BACKEND == "torch":
        import torch

        leaf = torch.tensor(x, requires_grad=True)
        weights = [w.value for w in layer.trainable_weights]
        return arrays(torch.autograd.grad(loss_of(layer(leaf, **call)), [leaf, *weights]))
    import jax

    others = [w.value for w in layer.non_trainable_variables]

    def loss(x: Any, weights: Any) -> Any:
        return loss_of(layer.stateless_call(weights, others, x, **call)[0])

    values = [w.value for w in layer.trainable_variables]
    return arrays(jax.jit(jax.grad(loss, (0, 1)))(x, values))


def check(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        scale = np.abs(other).max()
        assert scale > 0
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * scale)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that the engine was called with."""
    found: list[str] = []

    def run(cell: str, *others: Any) -> Any:
        found.append(cell)
        return engine.run(cell, *others)

    monkeypatch.setattr(layers, "run", run)
    return found


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_outputs_and_gradients_are_those_of_keras(
    name: str, options: dict[str, Any], calls: list[str]
) -> None:
    x, training = data(), "dropout" in options
    results = [arrays(layer(x, training=training)) for layer in pair(name, **options)]
    assert len(calls) == 1
    check(results[1], results[0])
    expected, got = (gradients(layer, x, training=training) for layer in pair(name, **options))
    assert len(calls) == 2
    check(got, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_stateful_layer_goes_on_where_it_stopped(name: str, calls: list[str]) -> None:
    x = data()
    first, second = pair(name, stateful=True)
    for _ in range(2):
        check(arrays(second(x)), arrays(first(x)))
    assert len(calls) == 2


@pytest.mark.parametrize("name", NAMES)
def test_states_go_in_and_come_out(name: str, calls: list[str]) -> None:
    x, rng = data(), np.random.default_rng(2)
    first, second = pair(name, return_state=True)
    states = [rng.normal(size=(B, H)).astype(np.float32) for _ in arrays(first(x))[1:]]
    check(arrays(second(x, initial_state=states)), arrays(first(x, initial_state=states)))
    assert calls


@pytest.mark.parametrize(("name", "options", "why"), [
    ("LSTM", {"recurrent_activation": "hard_sigmoid"}, "the activations are not those"),
    ("GRU", {"activation": "relu"}, "the activations are not those"),
    ("SimpleRNN", {"activation": "gelu"}, "the activations are not those"),
    ("LSTM", {"recurrent_dropout": 0.3}, "it has recurrent_dropout"),
    ("GRU", {"dtype": "bfloat16", "recurrent_initializer": "zeros"}, "it computes in bfloat16"),
])  # fmt: skip
def test_keras_runs_what_the_engine_cannot(
    name: str, options: dict[str, Any], why: str, calls: list[str]
) -> None:
    first, second = pair(name, **options)
    x = data()
    np.testing.assert_array_equal(arrays(second(x))[0], arrays(first(x))[0])
    assert not calls
    assert rnnfast.keras.report(second) == {second.path: f"Keras: {second.why_not()}"}
    assert why in second.why_not()


def test_keras_runs_calls_with_a_mask(calls: list[str]) -> None:
    first, second = pair("GRU")
    mask = np.arange(T) < np.array([T, 2, 4])[:, None]
    expected, got = (arrays(layer(data(), mask=keras.ops.array(mask))) for layer in (first, second))
    check(got, expected)
    assert not calls


def model() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((T, I)),
        keras.layers.LSTM(4, return_sequences=True),
        keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True)),
        keras.layers.SimpleRNN(4),
        keras.layers.Dense(1),
    ])  # fmt: skip


def test_an_accelerated_model_learns_the_same(tmp_path: Path, calls: list[str]) -> None:
    x = np.random.default_rng(3).normal(size=(32, T, I)).astype(np.float32)
    losses = []
    for fast in (False, True):
        one = model()
        one.compile("adam", "mse")
        one.fit(x, x[:, 0, :1], epochs=1, batch_size=8, shuffle=False, verbose=0)
        assert not calls
        if fast:
            assert rnnfast.keras.accelerate(one) is one
        run = one.fit(x, x[:, 0, :1], epochs=2, batch_size=8, shuffle=False, verbose=0)
        losses.append(run.history["loss"])
    assert set(calls) == {"lstm", "gru", "rnn_tanh"}
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert list(rnnfast.keras.report(one).values()) == ["rnnfast"] * 4
    one.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert list(rnnfast.keras.report(loaded).values()) == ["rnnfast"] * 4
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), one.predict(x, verbose=0))


def test_accelerate_says_that_it_changed_nothing() -> None:
    dense = keras.Sequential([keras.Input((T, I)), keras.layers.Dense(1)])
    with pytest.warns(UserWarning, match="changed nothing: no recurrent layers"):
        rnnfast.keras.accelerate(dense)
    slow = keras.Sequential([keras.Input((T, I)), keras.layers.LSTM(4, recurrent_dropout=0.1)])
    with pytest.warns(UserWarning, match=r"changed nothing: .*lstm.*: Keras: it has recurrent_dro"):
        rnnfast.keras.accelerate(slow)
    stacked = keras.Sequential([
        keras.Input((T, I)), keras.layers.RNN(keras.layers.LSTMCell(4)),
    ])  # fmt: skip
    with pytest.warns(UserWarning, match="Keras: it is not a layer of rnnfast.keras"):
        rnnfast.keras.accelerate(stacked)


def test_all_of_this_with_pytorch() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["-k", "not all_of_this", __file__]
    done = subprocess.run(
        command, env=os.environ | {"KERAS_BACKEND": "torch"}, text=True,
        capture_output=True, timeout=600, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed, 1 deselected in", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("model", [None, keras.layers.GRU, [keras.layers.GRU(2)]], ids=type)
def test_a_model_that_is_none_is_named(model: Any) -> None:
    for function in (rnnfast.keras.accelerate, rnnfast.keras.report):
        got = type(model).__name__
        with pytest.raises(TypeError, match=f"^model: expected a model or a layer .*, got {got}$"):
            function(model)
