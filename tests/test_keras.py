"""Weights and configurations from and to Keras."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import cases
import rnnfast

State: TypeAlias = "tuple[NDArray, ...]"
KERAS = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}  # and gates


def sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-x))


def keras_step(cell: str, x: NDArray, state: State, weights: list[NDArray]) -> State:
    """Take a step of Keras 3's SimpleRNNCell, LSTMCell or GRUCell, by the lines of their `call`."""
    kernel, recurrent_kernel, *bias = weights
    h_tm1, units = state[0], state[0].shape[1]
    input_bias, recurrent_bias = bias[0] if bias and cell == "gru" else (*bias, 0, 0)[:2]
    matrix_x = x @ kernel + input_bias
    if cell in ("rnn_tanh", "rnn_relu"):
        sums = matrix_x + h_tm1 @ recurrent_kernel
        return (np.tanh(sums) if cell == "rnn_tanh" else np.maximum(sums, 0),)
    if cell == "lstm":
        z0, z1, z2, z3 = np.split(matrix_x + h_tm1 @ recurrent_kernel, 4, axis=1)
        i, f, o = sigmoid(z0), sigmoid(z1), sigmoid(z3)
        c = f * state[1] + i * np.tanh(z2)
        return o * np.tanh(c), c
    x_z, x_r, x_h = np.split(matrix_x, 3, axis=1)
    reset_after = cell == "gru"
    if reset_after:
        matrix_inner = h_tm1 @ recurrent_kernel + recurrent_bias
    else:
        matrix_inner = h_tm1 @ recurrent_kernel[:, : 2 * units]
    z = sigmoid(x_z + matrix_inner[:, :units])
    r = sigmoid(x_r + matrix_inner[:, units : 2 * units])
    if reset_after:
        recurrent_h = r * matrix_inner[:, 2 * units :]
    else:
        recurrent_h = (r * h_tm1) @ recurrent_kernel[:, 2 * units :]
    return (z * h_tm1 + (1 - z) * np.tanh(x_h + recurrent_h),)


def keras_network(
    cell: str, x: NDArray, weights: list[NDArray], layers: int, bidirectional: bool, units: int
) -> NDArray:
    """Return Keras's outputs (T, B, D*H); `Bidirectional` has `merge_mode="concat"`."""
    directions = 2 if bidirectional else 1
    each = len(weights) // (layers * directions)
    for layer in range(layers):
        sides = []
        for k in range(directions):
            first = (layer * directions + k) * each
            state = (np.zeros((x.shape[1], units)),) * (2 if cell == "lstm" else 1)
            ys = []
            for step in x[::-1] if k else x:
                state = keras_step(cell, step, state, weights[first : first + each])
                ys.append(state[0])
            sides.append(np.stack(ys[::-1] if k else ys))
        x = np.concatenate(sides, axis=-1)
    return x


def keras_weights(cell: str, layers: int, directions: int, bias: bool) -> list[NDArray]:
    """Return random arrays in Keras's shapes, with I = 5 and H = 7."""
    rng = np.random.default_rng(1)
    weights = []
    for layer, _ in itertools.product(range(layers), range(directions)):
        rows = KERAS[cell] * 7
        shapes = [(directions * 7 if layer else 5, rows), (7, rows)]
        shapes += [(2, rows) if cell == "gru" else (rows,)] if bias else []
        weights += [0.6 * rng.standard_normal(shape) for shape in shapes]
    return weights


def keras_config(cell: str, *, bias: bool = True, **changes: Any) -> dict[str, Any]:
    """Return the parts of `get_config()` of Keras's layer that matter here."""
    config = {
        "name": "a_name", "trainable": True, "return_sequences": True, "return_state": False,
        "go_backwards": False, "stateful": False, "unroll": False, "units": 7,
        "activation": "relu" if cell == "rnn_relu" else "tanh", "use_bias": bias,
        "dropout": 0.0, "recurrent_dropout": 0.0,
    }  # fmt: skip
    if cell == "lstm":
        config |= {"recurrent_activation": "sigmoid", "unit_forget_bias": True}
    elif cell.startswith("gru"):
        config |= {"recurrent_activation": "sigmoid", "reset_after": cell == "gru"}
    return config | changes


def keras_bidirectional(
    config: dict[str, Any], merge_mode: str | None = "concat"
) -> dict[str, Any]:
    """Return the config of Keras's wrapper around a layer."""
    if "unit_forget_bias" in config:
        kind = "LSTM"
    else:
        kind = "GRU" if "reset_after" in config else "SimpleRNN"
    sides = {
        name: {"module": "keras.layers", "class_name": kind, "config": side}
        for name, side in (
            ("layer", config),
            ("backward_layer", config | {"go_backwards": not config["go_backwards"]}),
        )
    }
    return {"name": "bidirectional", "merge_mode": merge_mode, **sides}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (3, True)])
@pytest.mark.parametrize("cell", KERAS)
def test_keras_weights(cell: str, layers: int, bidirectional: bool, bias: bool) -> None:
    """Loaded weights give Keras's outputs; exported ones are equal or give our outputs."""
    options = {"bidirectional": bidirectional, "bias": bias, "dtype": np.float64, "seed": 2}
    layer = rnnfast.Recurrent(cell, 5, 7, layers, **options).eval()
    x = np.random.default_rng(3).standard_normal((6, 4, 5))

    def of_keras(weights: list[NDArray]) -> NDArray:
        return keras_network(cell, x, weights, layers, bidirectional, 7)

    own = of_keras(rnnfast.to_keras_weights(layer))  # with two biases where Keras has one
    np.testing.assert_allclose(layer(x)[0], own, rtol=0, atol=1e-14)
    weights = keras_weights(cell, layers, 2 if bidirectional else 1, bias)
    config = keras_config(cell, bias=bias)
    config = keras_bidirectional(config) if bidirectional else config
    rnnfast.load_keras_weights(layer, weights, [config] * layers)
    expected = of_keras(weights)
    scale = max(1, np.abs(expected).max())  # ReLU outputs are unbounded
    np.testing.assert_allclose(layer(x)[0], expected, rtol=0, atol=scale * 1e-14)
    back = rnnfast.to_keras_weights(layer)
    assert len(back) == len(weights)
    for got, expected in zip(back, weights, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_keras_errors() -> None:
    layer = rnnfast.GRU(5, 7, seed=1)
    before = layer.state_dict()
    kernel, recurrent_kernel, bias = keras_weights("gru", 1, 1, bias=True)
    for weights, message in (
        ([kernel, recurrent_kernel], "weights: expected 3 arrays for each of 1 layers .* got 2"),
        ([kernel.T, recurrent_kernel, bias],
         r"kernel: expected shape \(input_size, 3\*hidden_size\) = \(5, 21\), got \(21, 5\)"),
        ([kernel, recurrent_kernel, bias[0]],
         r"bias: expected shape \(2, 3\*hidden_size\) = \(2, 21\), got \(21,\)"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            rnnfast.load_keras_weights(layer, weights, keras_config("gru"))
    with pytest.raises(TypeError, match="expected an array of real numbers, got dtype int64"):
        rnnfast.load_keras_weights(
            layer, [kernel, recurrent_kernel.astype(int), bias], keras_config("gru")
        )
    cases.assert_identical(layer.state_dict(), before)
    for other in (rnnfast.Recurrent("mut3", 5, 7), rnnfast.PeepholeLSTM(5, 7)):
        with pytest.raises(
            ValueError, match="layer: expected a cell that Keras has, one of lstm, gru, "
        ):
            rnnfast.to_keras_weights(other)
        with pytest.raises(
            ValueError, match="layer: expected a cell that Keras has, one of lstm, gru, "
        ):
            rnnfast.load_keras_weights(other, [])


def test_keras_has_no_place_for_a_learned_state() -> None:
    layer = rnnfast.GRU(3, 5, learn_state=True)
    weights = rnnfast.to_keras_weights(rnnfast.GRU(3, 5))
    for call in (
        lambda: rnnfast.to_keras_weights(layer),
        lambda: rnnfast.load_keras_weights(layer, weights),
    ):
        with pytest.raises(
            ValueError, match=r"layer: expected a layer without learn_state, as Keras"
        ):
            call()


@pytest.mark.parametrize(
    ("cell", "config", "message"),
    [
        ("lstm", keras_config("lstm", recurrent_activation="hard_sigmoid"),
         "config: expected recurrent_activation 'sigmoid', got 'hard_sigmoid', which no cell "),
        ("gru", keras_config("gru", recurrent_activation="linear"),
         "config: expected recurrent_activation 'sigmoid', got 'linear'"),
        ("lstm", keras_config("lstm", activation="relu"),
         "config: expected activation 'tanh', got 'relu'"),
        ("rnn_tanh", keras_config("rnn_tanh", activation="elu"),
         "config: expected activation 'tanh' or 'relu', got 'elu'"),
        ("rnn_tanh", keras_config("rnn_relu"),
         "layer: expected cell 'rnn_relu', which computes what config describes, got 'rnn_tanh'"),
        ("gru", keras_config("gru_reset_before"),
         "layer: expected cell 'gru_reset_before', which .* got 'gru'"),
        ("gru_reset_before", keras_config("gru"), "layer: expected cell 'gru', which"),
        ("lstm", keras_config("gru"), "layer: expected cell 'gru', which .* got 'lstm'"),
        ("lstm", keras_config("lstm", units=8),
         "layer: expected hidden_size = 8, as config has units=8, got 7"),
        ("lstm", keras_config("lstm", bias=False),
         "layer: expected bias = False, as config has use_bias=False, got True"),
        ("lstm", keras_config("lstm", go_backwards=True),
         "config: expected go_backwards=False, got True; .* x"),
        ("lstm", keras_bidirectional(keras_config("lstm")),
         "layer: expected bidirectional = True, as config has Bidirectional=True, got False"),
        ("lstm", {"class_name": "ConvLSTM2D", "config": keras_config("lstm")},
         "config: expected the config of SimpleRNN, LSTM, GRU of Keras 2 or 3.*, got ConvLSTM2D"),
        ("lstm", {"class_name": "Dense", "config": {"units": 7}}, "got Dense"),
        ("lstm", {"output_dim": 7, "inner_activation": "hard_sigmoid"}, "got one without units"),
        ("lstm", keras_config("lstm", activation={"class_name": "function", "config": "gelu"}),
         "config: expected activation 'tanh', got 'gelu'"),
        ("lstm", keras_config("lstm", activation={"value": ["4wEA"]}),
         "config: expected activation 'tanh', got 'a custom function"),
        ("lstm", [keras_config("lstm")] * 2, "config: expected one for each .* = 1 layers, got 2"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
def test_a_keras_layer_that_computes_something_else_is_refused(
    cell: str, config: Any, message: str
) -> None:
    layer = rnnfast.Recurrent(cell, 5, 7, seed=1)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=message):
        rnnfast.load_keras_weights(layer, keras_weights(cell, 1, 1, bias=True), config)
    cases.assert_identical(layer.state_dict(), before)


def test_a_keras_bidirectional_that_computes_something_else_is_refused() -> None:
    layer = rnnfast.LSTM(5, 7, bidirectional=True)
    weights = keras_weights("lstm", 1, 2, bias=True)
    hard = keras_config("lstm", recurrent_activation="hard_sigmoid")
    one_way = keras_bidirectional(keras_config("lstm"))
    one_way["backward_layer"] = one_way["layer"]
    for config, message in (
        *(
            (
                keras_bidirectional(keras_config("lstm"), theirs),
                f"merge_mode 'concat', .* got '{theirs}'; .*MergeDirections\\('{ours}'\\) after",
            )
            for theirs, ours in (("sum", "sum"), ("ave", "mean"), ("mul", "product"))
        ),
        (keras_bidirectional(keras_config("lstm"), None), "merge_mode 'concat', .* got None$"),
        (keras_bidirectional(hard), "expected recurrent_activation 'sigmoid', got 'hard_sigmoid'"),
        (one_way, "expected go_backwards=True, got False"),
        (keras_config("lstm"), "layer: expected bidirectional = False"),
    ):
        with pytest.raises(ValueError, match=message):
            rnnfast.load_keras_weights(layer, weights, config)
    stacked = rnnfast.LSTM(5, 7, 2)
    last_only = keras_config("lstm", return_sequences=False)
    with pytest.raises(
        ValueError, match=r"config\[0\]: expected return_sequences=True, as the nex"
    ):
        rnnfast.load_keras_weights(
            stacked, keras_weights("lstm", 2, 1, bias=True), [last_only, last_only]
        )


@pytest.mark.parametrize(
    "config",
    [
        keras_config("lstm", return_sequences=False, stateful=True, time_major=True, unroll=True),
        keras_config("lstm", implementation=1, recurrent_activation={
            "module": "builtins", "class_name": "function", "config": "sigmoid"}),
        {"class_name": "LSTM", "config": keras_config("lstm")},
        {"name": "rnn", "go_backwards": False, "cell": {
            "class_name": "LSTMCell", "config": keras_config("lstm")}},
        [keras_config("lstm")],
    ],
)  # fmt: skip
def test_options_of_keras_that_change_no_result(config: Any) -> None:
    layer = rnnfast.LSTM(5, 7)
    rnnfast.load_keras_weights(layer, keras_weights("lstm", 1, 1, bias=True), config)


def test_keras_options_of_training_are_not_taken_over() -> None:
    layer, weights = rnnfast.LSTM(5, 7), keras_weights("lstm", 1, 1, bias=True)
    with pytest.warns(
        UserWarning,
        match=r"dropout=0\.5, which acts only in training .* input_dropout=0\.5 is equiv",
    ):
        rnnfast.load_keras_weights(layer, weights, keras_config("lstm", dropout=0.5))
    same = rnnfast.LSTM(5, 7, input_dropout=0.5, recurrent_dropout=0.1)
    config = keras_config("lstm", dropout=0.5, recurrent_dropout=0.1)
    rnnfast.load_keras_weights(same, weights, config)  # no warning


@pytest.mark.parametrize(
    ("cell", "assumed"),
    [
        ("lstm", "activation='tanh', recurrent_activation='sigmoid'; pass config="),
        ("gru", "recurrent_activation='sigmoid', reset_after=True; pass"),
        ("gru_reset_before", "reset_after=False; pass"),
        ("rnn_relu", "activation='relu'; pass"),
    ],
)
def test_keras_arrays_by_themselves_warn_of_what_is_assumed(cell: str, assumed: str) -> None:
    layer = rnnfast.Recurrent(cell, 5, 7)
    with pytest.warns(UserWarning, match=f"the Keras layer is assumed to have .*{assumed}"):
        rnnfast.load_keras_weights(layer, keras_weights(cell, 1, 1, bias=True))


def test_a_path_or_a_layer_instead_of_weights_says_what_to_give(tmp_path: Path) -> None:
    layer = rnnfast.LSTM(5, 7)
    for path in ("m.keras", "m.h5", tmp_path / "m.keras"):
        with pytest.raises(
            TypeError,
            match=r"weights: .* got the path .*load_model\(path\), pass, .*, keras_layer\.",
        ):
            rnnfast.load_keras_weights(layer, path)  # type: ignore[arg-type]
    both = rnnfast.LSTM(5, 7, bidirectional=True)
    for target, config in (
        *((layer, value) for value in ("m.json", 3, [3], {"cell": 3})),
        *((both, {"merge_mode": "concat"} | more) for more in ({}, {"layer": "lstm"})),
    ):
        with pytest.raises(TypeError, match=r"config(\[.*\])?: expected .*dict.*, got \w+"):
            rnnfast.load_keras_weights(target, [], config)  # type: ignore[arg-type]
    for weights in (layer, {"kernel": 1}):
        with pytest.raises(TypeError, match=r"weights: expected a list of arrays, got (LSTM|dict)"):
            rnnfast.load_keras_weights(layer, weights)  # type: ignore[arg-type]


def test_bfloat16_weights() -> None:
    layer = rnnfast.LSTM(5, 7)
    weights = [w.astype(ml_dtypes.bfloat16) for w in keras_weights("lstm", 1, 1, bias=True)]
    rnnfast.load_keras_weights(layer, weights, keras_config("lstm"))
    np.testing.assert_array_equal(rnnfast.to_keras_weights(layer)[0], weights[0].astype(np.float32))
