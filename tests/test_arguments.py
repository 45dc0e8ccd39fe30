"""Bad arguments of layers and losses are refused with a message that says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from argument_cases import B, H, I, T, gru, linear, lstm, x, zeros
from rnnfast import GRU, LSTM, Embedding, Linear, Recurrent, functional, softmax_cross_entropy


def after_forward(layer: Recurrent) -> Recurrent:
    layer(x())
    return layer


def load(module: rnnfast.Module, **changes: Any) -> None:
    module.load_state_dict(
        {k: v for k, v in (module.state_dict() | changes).items() if v is not None}
    )


CASES: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    # Making layers
    "input_size": (ValueError, "input_size: expected at least 1, got 0", lambda: LSTM(0, H)),
    "hidden_size": (
        TypeError,
        "hidden_size: expected an integer, got float",
        lambda: LSTM(I, 2.5),  # type: ignore[arg-type]
    ),
    "num_layers": (ValueError, "num_layers: expected at least 1, got -1", lambda: GRU(I, H, -1)),
    "dropout": (
        ValueError,
        "dropout: expected a number in [0, 1], got 1.5",
        lambda: LSTM(I, H, 2, dropout=1.5),
    ),
    "dtype": (
        TypeError,
        "dtype: expected float32 or float64, got int64",
        lambda: LSTM(I, H, dtype=np.int64),
    ),
    "cell": (
        ValueError,
        "cell: expected a name in rnnfast.cells.ZOO, a registered name, or a "
        "rnnfast.Cell, got 'LSTM'; did you mean 'lstm' or",
        lambda: Recurrent("LSTM", I, H),
    ),
    "nonlinearity": (
        ValueError,
        "nonlinearity: expected one of tanh, relu, got 'sin'",
        lambda: rnnfast.RNN(I, H, nonlinearity="sin"),
    ),
    "num_embeddings": (
        ValueError,
        "num_embeddings: expected at least 1, got 0",
        lambda: Embedding(0, 3),
    ),
    "out_features": (ValueError, "out_features: expected at least 1, got 0", lambda: Linear(3, 0)),
    # Calling recurrent layers
    "x rank": (
        ValueError,
        "x: expected shape (seq_len, batch, input_size = 4), got (5, 4)",
        lambda: lstm()(zeros(T, I)),
    ),
    "x size": (ValueError, "input_size = 4), got (5, 3, 7)", lambda: lstm()(zeros(T, B, 7))),
    "x complex": (
        TypeError,
        "x: expected real numbers to convert to dtype float32 (the weights'), got complex128",
        lambda: lstm()(zeros(T, B, I, dtype="complex")),
    ),
    "x index negative": (IndexError, "got -1", lambda: lstm()(np.full((T, B), -1))),
    "x index too large": (IndexError, "got 4", lambda: lstm()(np.full((T, B), I))),
    "x index rank": (
        ValueError,
        "x: expected indices of shape (seq_len, batch), got (5,)",
        lambda: lstm()(np.zeros(T, int)),
    ),
    "state of one": (
        TypeError,
        "state: expected a tuple of 2 arrays, the states of cell 'lstm', got a ndarray",
        lambda: lstm()(x(), zeros(1, B, H)),
    ),
    "state of three": (
        TypeError,
        "state: expected a tuple of 2 arrays, the states of cell 'lstm', got a tuple of 3",
        lambda: lstm()(x(), (zeros(1, B, H),) * 3),
    ),
    "state of two": (
        TypeError,
        "state: expected one array, the states of cell 'gru', got a tuple of 2",
        lambda: gru()(x(), (zeros(1, B, H),) * 2),
    ),
    "state shape": (
        ValueError,
        "state: expected shape (num_layers*num_directions, batch, hidden_size) = (1, 3, 6), "
        "got (1, 2, 6)",
        lambda: gru()(x(), zeros(1, 2, H)),
    ),
    "state dtype": (
        TypeError,
        "state: expected real numbers to convert to dtype float32 (the weights'), got object",
        lambda: gru()(x(), zeros(1, B, H, dtype="object")),
    ),
    "lengths too long": (
        ValueError,
        "lengths: expected values in [0, seq_len] = [0, 5], got 1 to 6",
        lambda: lstm()(x(), lengths=[1, 6, 2]),
    ),
    "lengths negative": (
        ValueError,
        "lengths: expected values in [0, seq_len] = [0, 5], got -1 to 2",
        lambda: lstm()(x(), lengths=[1, -1, 2]),
    ),
    "lengths shape": (
        ValueError,
        "lengths: expected shape (batch,) = (3,), got (2,)",
        lambda: lstm()(x(), lengths=[1, 2]),
    ),
    "lengths dtype": (
        TypeError,
        "lengths: expected an array of integers, got dtype float64",
        lambda: lstm()(x(), lengths=[1.0, 2.0, 3.0]),
    ),
    # Their backward
    "no forward": (
        RuntimeError,
        "LSTM.backward: expected a call of the layer in training mode before each backward",
        lambda: lstm().backward(zeros(T, B, H)),
    ),
    "forward in evaluation": (
        RuntimeError,
        "GRU.backward: expected a call of the layer in training mode before each backward",
        lambda: after_forward(gru().eval()).backward(zeros(T, B, H)),
    ),
    "dy shape": (
        ValueError,
        "dy: expected shape (seq_len, batch, num_directions*hidden_size) = (5, 3, 6), "
        "got (5, 3, 5)",
        lambda: after_forward(lstm()).backward(zeros(T, B, 5)),
    ),
    "dy dtype": (
        TypeError,
        "dy: expected real numbers to convert to dtype float32, got <U1",
        lambda: after_forward(lstm()).backward(zeros(T, B, H, dtype="U1")),
    ),
    "dstate of one": (
        TypeError,
        "dstate: expected a tuple of 2 arrays, the states of cell 'lstm', got a ndarray",
        lambda: after_forward(lstm()).backward(zeros(T, B, H), zeros(1, B, H)),
    ),
    "dstate shape": (
        ValueError,
        "dstate: expected shape (num_layers*num_directions, batch, hidden_size) = (1, 3, 6)",
        lambda: after_forward(gru()).backward(zeros(T, B, H), zeros(2, B, H)),
    ),
    # Linear, Embedding
    "linear x": (
        ValueError,
        "x: expected shape (..., in_features = 4), got (2, 5)",
        lambda: linear()(zeros(2, 5)),
    ),
    "linear x dtype": (
        TypeError,
        "x: expected real numbers to convert to dtype float32 (the layer's), got complex64",
        lambda: linear()(zeros(2, I, dtype="complex64")),
    ),
    "linear dy": (
        ValueError,
        "dy: expected shape (..., out_features) = (2, 6), got (2, 4)",
        lambda: [layer := linear(), layer(zeros(2, I)), layer.backward(zeros(2, I))],
    ),
    "linear no forward": (
        RuntimeError,
        "Linear.backward: expected a call of the layer",
        lambda: linear().backward(zeros(2, H)),
    ),
    "embedding negative": (
        IndexError,
        "x: expected indices in [0, num_embeddings) = [0, 5), got -1",
        lambda: Embedding(5, 2)(np.array([1, -1])),
    ),
    "embedding too large": (
        IndexError,
        "x: expected indices in [0, num_embeddings) = [0, 5), got 5",
        lambda: Embedding(5, 2)(np.array([1, 5])),
    ),
    "embedding dtype": (
        TypeError,
        "x: expected an array of integers, got dtype float64",
        lambda: Embedding(5, 2)([1.0]),
    ),
    "embedding dy": (
        ValueError,
        "dy: expected shape (..., embedding_dim) = (3, 2), got (3, 3)",
        lambda: [e := Embedding(5, 2), e(np.array([0, 1, 2])), e.backward(zeros(3, 3))],
    ),
    # Loading
    "state_dict names": (
        ValueError,
        "state_dict: missing 'bias'; unexpected 'offset'",
        lambda: load(linear(), bias=None, offset=zeros(H)),
    ),
    "state_dict shape": (
        ValueError,
        "weight: expected shape of the parameter = (6, 4), got (4, 6)",
        lambda: load(linear(), weight=zeros(I, H)),
    ),
    "state_dict dtype": (
        TypeError,
        "bias: expected an array of real numbers, got dtype int64",
        lambda: load(linear(), bias=np.zeros(H, "int64")),
    ),
    "generator state": (
        ValueError,
        "state: missing ''; unexpected 'lstm'",
        lambda: lstm().set_generator_state({"lstm": {}}),
    ),
    # Loss
    "targets that would wrap into ignore_index": (
        IndexError,
        "targets: expected values in [0, classes) = [0, 4) or ignore_index = -100, "
        "got 18446744073709551516",
        lambda: softmax_cross_entropy(zeros(1, 4), np.array([2**64 - 100], np.uint64)),
    ),
    "targets that would wrap, in evaluation": (
        IndexError,
        "got 18446744073709551615",
        lambda: rnnfast.cross_entropy(zeros(1, 4), [2**64 - 1], ignore_index=-1),
    ),
    "ignore_index": (
        TypeError,
        "ignore_index: expected an integer, got float",
        lambda: softmax_cross_entropy(zeros(1, 4), [0], 0.5),  # type: ignore[arg-type]
    ),
    "ignore_index beyond int64": (
        ValueError,
        "ignore_index: expected at most 9223372036854775807, got 9223372036854775808",
        lambda: softmax_cross_entropy(zeros(1, 4), [0], 2**63),
    ),
    "targets shape": (
        ValueError,
        "targets: expected shape logits.shape[:-1] = (3,), got (2,)",
        lambda: softmax_cross_entropy(zeros(3, 5), np.zeros(2, int)),
    ),
    "targets range": (
        IndexError,
        "targets: expected values in [0, classes) = [0, 5) or ignore_index = -100, got 5",
        lambda: softmax_cross_entropy(zeros(3, 5), np.array([0, 5, 1])),
    ),
    "targets dtype": (
        TypeError,
        "targets: expected an array of integers, got dtype float32",
        lambda: softmax_cross_entropy(zeros(3, 5), zeros(3)),
    ),
    "logits dtype": (
        TypeError,
        "logits: expected real numbers to convert to dtype float64, got datetime64[s]",
        lambda: softmax_cross_entropy(zeros(3, 5, dtype="M8[s]"), np.zeros(3, int)),
    ),
    "logits rank": (
        ValueError,
        "logits: expected shape (..., V) with V >= 1, got (3, 0)",
        lambda: softmax_cross_entropy(zeros(3, 0), np.zeros(3, int)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    error, message, call = CASES[name]
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_a_failed_load_changes_nothing() -> None:
    layer = linear()
    before = layer.state_dict()
    with pytest.raises(ValueError, match="bias: expected shape"):
        load(layer, weight=zeros(H, I), bias=zeros(I))
    np.testing.assert_array_equal(layer.state_dict()["weight"], before["weight"])


@pytest.mark.parametrize(
    "use",
    [
        lambda value: Embedding(I, 2)(value),
        lambda value: gru()(value[None]),
        lambda value: gru().stream(1)(value),
        lambda value: softmax_cross_entropy(zeros(1, I), value),
        lambda value: gru()(x()[:, :1], lengths=value),
    ],
)
def test_integers_beyond_int64_are_refused_as_they_are(use: Any) -> None:
    with pytest.raises((IndexError, ValueError), match="18446744073709551614"):
        use(np.array([2**64 - 2], np.uint64))


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh"])
def test_every_layer_needs_its_matrices(name: str) -> None:
    ones = [np.ones(s, np.float32) for s in ((8, 2), (8, 8))]
    weights = [functional.Weights(*ones), functional.Weights(*ones)._replace(**{name: None})]
    with pytest.raises(TypeError, match=f"{name}: expected an array of shape .*, got None"):
        functional.pack("rnn_tanh", weights, bidirectional=True)
    with pytest.raises(TypeError, match=f"{name}: expected an array of shape .*, got None"):
        functional.forward("rnn_tanh", np.ones((3, 1, 2), np.float32), weights, bidirectional=True)


def masked(*shape: int, dtype: Any = np.float32) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.MaskedArray(np.zeros(shape, dtype), mask=True)


class TestArraysWithAMaskAreRefused:
    """Arrays with a mask are refused: the mask would be lost, and masked values would count."""

    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("training", [False, True])
    def test_by_recurrent_layers(self, batch_first: bool, dtype: Any, training: bool) -> None:
        layer = GRU(I, H, batch_first=batch_first).train(training)
        x = np.zeros((2, 2, I), np.float32)
        for use, name in (
            (lambda: layer(masked(2, 2, I, dtype=dtype)), "x"),
            (lambda: layer(masked(2, 2, dtype=np.int64)), "x"),
            (lambda: layer(x, masked(1, 2, H, dtype=dtype)), "state"),
            (lambda: layer(x, lengths=masked(2, dtype=np.int64)), "lengths"),
            (lambda: layer.stream(2)(masked(2, I, dtype=dtype)), "x"),
        ):
            with pytest.raises(TypeError, match=f"{name}: expected an array without a mask"):
                use()
        if training:
            layer(x)
            with pytest.raises(TypeError, match="dy: expected an array without a mask"):
                layer.backward(masked(2, 2, H, dtype=dtype))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_by_other_layers_losses_and_parameters(self, dtype: Any) -> None:
        linear, table = Linear(I, H), Embedding(3, 2)
        logits, targets = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
        loss = rnnfast.softmax_cross_entropy
        for use, name in (
            (lambda: linear(masked(2, I, dtype=dtype)), "x"),
            (lambda: table(masked(2, dtype=np.int64)), "x"),
            (lambda: loss(masked(2, 3, dtype=dtype), targets), "logits"),
            (lambda: loss(logits, masked(2, dtype=np.int64)), "targets"),
            (lambda: setattr(linear, "bias", masked(H, dtype=dtype)), "bias"),
        ):
            with pytest.raises(TypeError, match=f"{name}: expected an array without a mask"):
                use()


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), ("a", TypeError), (1.5, TypeError)])
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: GRU(I, H, seed=seed),
        lambda seed: Linear(I, H, seed=seed),
        lambda seed: Embedding(I, H, seed=seed),
    ],
)
def test_a_wrong_seed_is_named(make: Any, seed: Any, error: Any) -> None:
    with pytest.raises(error, match="seed: expected "):
        make(seed)


def test_a_wrong_device_hears_of_those_of_users_only() -> None:
    with pytest.raises(ValueError, match=r"device: expected one of cpu, cuda.*, got 'gpu'"):
        GRU(I, H, device="gpu")
