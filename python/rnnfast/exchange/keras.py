"""Conversion of weights from and to Keras, which is never imported."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights, reordered
from rnnfast.exchange import keras_config
from rnnfast.layers.recurrent import Recurrent

_KERAS_GATES = {
    "rnn_tanh": (0,),
    "rnn_relu": (0,),
    "lstm": (0, 1, 2, 3),  # ifco: its c is our g
    "gru": (1, 0, 2),  # zrh
    "gru_reset_before": (1, 0, 2),
}


def load_keras_weights(
    layer: Recurrent,
    weights: Sequence[ArrayLike],
    config: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Set the parameters of a layer from those of Keras layers: `SimpleRNN`, `LSTM` or `GRU`.

    Keras has one bias where rnnfast has two (`bias_hh` is set to zero), except in a GRU with
    `reset_after`.

    The arrays do not determine the activations of a Keras layer: the default was "hard_sigmoid" in
    Keras 1 and 2 and is "sigmoid" in Keras 3, and results differ by tens of percent. Pass `config`
    to have them checked.
    Without it a warning says what is assumed: activation "tanh" ("relu" for a layer of cell
    "rnn_relu"), recurrent_activation "sigmoid", reset_after as the layer's cell has it, and
    go_backwards False.

    Args:
        layer: Of cell "lstm", "gru", "gru_reset_before", "rnn_tanh" or "rnn_relu"; without biases
            for `use_bias=False`.
        weights: What `get_weights()` of Keras's layers gives, one layer's after the other's:
            kernel (I, G*H), recurrent_kernel (H, G*H), bias (G*H,), or (2, G*H) for a GRU with
            `reset_after`; of a `Bidirectional` layer first those forward, then those backward.
        config: What `get_config()` of Keras's layer gives, or a list with one for each layer. It
            is checked against `layer`: activations, reset_after, units, use_bias, go_backwards,
            `Bidirectional` with merge_mode "concat".

    Raises:
        ValueError: Keras has no such cell, no learned initial state or no projection, the layer
            does not compute what `config` says, or the number of arrays or a shape is wrong.
            Nothing is changed then.
        TypeError: `weights` is a path or a Keras layer instead, or a value is not an array of
            reals.
    """
    _check_weights(weights)
    if config is None:
        assumed = _keras_assumptions(layer)
        warnings.warn(
            f"load_keras_weights: without config, the Keras layer is assumed to have {assumed}; "
            "pass config=keras_layer.get_config() to check this",
            stacklevel=2,
        )
    else:
        keras_config.check(layer, config)
    blocks, two_biases = _keras_form(layer)
    order = np.argsort(blocks).tolist()
    expected = [_keras_shapes(target, two_biases) for target in layer._weights]
    arrays = [np.asarray(value) for value in weights]
    if len(arrays) != sum(map(len, expected)):
        raise ValueError(
            f"weights: expected {len(expected[0])} arrays for each of {len(expected)} layers and "
            f"directions, got {len(arrays)}"
        )
    values = []
    for shapes in expected:
        of_layer = dict(zip(shapes, arrays, strict=False))
        for name, (shape, meaning) in shapes.items():
            checks.shape(name, of_layer[name], shape, meaning)
        del arrays[: len(shapes)]
        values += [reordered(of_layer[name].T, order) for name in ("kernel", "recurrent_kernel")]
        if "bias" in of_layer:
            biases = of_layer["bias"].reshape(-1, shapes["kernel"][0][1])
            biases = biases if two_biases else np.stack([biases[0], np.zeros_like(biases[0])])
            values += [reordered(bias, order) for bias in biases]
    names = (parameter.name for parameter in layer.parameters())
    layer.load_state_dict(dict(zip(names, values, strict=True)))


def to_keras_weights(layer: Recurrent) -> list[RealArray]:
    """Return the parameters of a layer in the form of Keras's `set_weights`.

    This is the inverse of `load_keras_weights`. If Keras has one bias, it is the sum of the two.
    The weights of several layers follow each other: for each layer and direction three arrays, or
    two without biases.

    Args:
        layer: Of cell "lstm", "gru", "gru_reset_before", "rnn_tanh" or "rnn_relu".

    Returns:
        Copies, in the layer's dtype.

    Raises:
        ValueError: Keras has no such cell, no learned initial state or no projection.
    """
    blocks, two_biases = _keras_form(layer)
    result = []
    for w in layer._weights:
        result += [reordered(m, blocks).T.copy() for m in (w.weight_ih, w.weight_hh)]
        if w.bias_ih is not None and w.bias_hh is not None:
            biases = np.stack([reordered(bias, blocks) for bias in (w.bias_ih, w.bias_hh)])
            result.append(biases if two_biases else biases.sum(axis=0))
    return result


def _keras_form(layer: Recurrent) -> tuple[tuple[int, ...], bool]:
    """Return the row blocks in the order of Keras's columns, and whether Keras has two biases."""
    if layer.cell not in _KERAS_GATES:
        raise ValueError(
            f"layer: expected a cell that Keras has, one of {', '.join(_KERAS_GATES)}, got "
            f"{layer.cell!r}"
        )
    if layer.learn_state:
        raise ValueError(
            "layer: expected a layer without learn_state, as Keras's weights have no initial "
            "state, got learn_state=True"
        )
    checks.no_context("layer", layer.context_size, "Keras's layers")
    if layer.proj_size:
        raise ValueError(
            "layer: expected a layer without a projection, which Keras's LSTM does not have, got "
            f"proj_size={layer.proj_size}"
        )
    return _KERAS_GATES[layer.cell], layer.cell == "gru"


def _keras_assumptions(layer: Recurrent) -> str:
    """Return in words the options that a Keras layer must have to match a layer."""
    _keras_form(layer)
    if layer.cell in ("rnn_tanh", "rnn_relu"):
        return f"activation={layer.cell.removeprefix('rnn_')!r}"
    functions = "activation='tanh', recurrent_activation='sigmoid'"
    if layer.cell == "lstm":
        return functions
    return f"{functions}, reset_after={layer.cell == 'gru'}"


def _keras_shapes(weights: Weights, two_biases: bool) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shapes of Keras's arrays for a layer and direction, each with its meaning."""
    (rows, inputs), hidden = weights.weight_ih.shape, weights.weight_hh.shape[1]
    gates = f"{rows // hidden}*hidden_size"
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "kernel": ((inputs, rows), f"(input_size, {gates})"),
        "recurrent_kernel": ((hidden, rows), f"(hidden_size, {gates})"),
    }
    if weights.bias_ih is not None:
        shapes["bias"] = ((2, rows), f"(2, {gates})") if two_biases else ((rows,), f"({gates},)")
    return shapes


def _check_weights(weights: Any) -> None:
    """Raise an error for anything but the arrays of a Keras layer."""
    pair = "keras_layer.get_weights(), and keras_layer.get_config() as config"
    if isinstance(weights, (str, PathLike)):
        got = (
            f"the path {fspath(weights)!r}; read the model first, with "
            f"keras.models.load_model(path), and pass, for its recurrent layer, {pair}"
        )
    elif isinstance(weights, Mapping) or not hasattr(weights, "__iter__"):
        got = f"{type(weights).__name__}; pass {pair}"
    else:
        return
    raise TypeError(f"weights: expected a list of arrays, got {got}")
