"""Conversion of weights from and to Keras, which is never imported."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike, fspath
from typing import Any

from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights
from rnnfast.exchange import conversion, keras_config
from rnnfast.exchange.convention import Array, Convention
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.conversion import OUR_GATES
from rnnfast.layers.recurrent import Recurrent


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
    row = _row(layer)
    expected = [_arrays(row, target) for target in layer._weights]
    arrays = [backends.array_of(f"weights[{i}]", value) for i, value in enumerate(weights)]
    if len(arrays) != sum(map(len, expected)):
        raise ValueError(
            f"weights: expected {len(expected[0])} arrays for each of {len(expected)} layers and "
            f"directions, got {len(arrays)}"
        )
    values: list[RealArray] = []
    for of_layer, target in zip(expected, layer._weights, strict=True):
        sizes = conversion.sizes_of_weights(target)
        given = {}
        for array in of_layer:
            name = array.name.removeprefix("{mark}")
            given[array.name] = arrays.pop(0)
            shape = conversion.shape_of(row, array, sizes)
            checks.shape(name, given[array.name], shape, _meaning(array, len(row.gates)))
        given = {n: conversion.real(n.removeprefix("{mark}"), v) for n, v in given.items()}
        values += [v for v in conversion.read(row, given, sizes, 0.0, False) if v is not None]
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
    row = _row(layer)
    return [a for w in layer._weights for a in conversion.write(row, w, 0.0, False).values()]


@cache
def row_of(cell: str) -> Convention | None:
    """Return how Keras stores layers of a cell; None if it has no such layers."""
    stored = "rnn_tanh" if cell == "rnn_relu" else cell
    rows = (row for row in CONVENTIONS if row.source == "keras" and "CuDNN" not in row.layers)
    return next((row for row in rows if row.cell == stored), None)


def _row(layer: Recurrent) -> Convention:
    """Return how Keras stores a layer."""
    row = row_of(layer.cell)
    if row is None:
        known = ", ".join(cell for cell in OUR_GATES if row_of(cell))
        raise ValueError(
            f"layer: expected a cell that Keras has, one of {known}, got {layer.cell!r}"
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
    return row


def _keras_assumptions(layer: Recurrent) -> str:
    """Return in words the options that a Keras layer must have to match a layer."""
    _row(layer)
    if layer.cell in ("rnn_tanh", "rnn_relu"):
        return f"activation={layer.cell.removeprefix('rnn_')!r}"
    functions = "activation='tanh', recurrent_activation='sigmoid'"
    if layer.cell == "lstm":
        return functions
    return f"{functions}, reset_after={layer.cell == 'gru'}"


def _arrays(row: Convention, weights: Weights) -> list[Array]:
    """Return the arrays that Keras has for a layer and direction."""
    return [a for a in row.arrays if not a.optional or weights.bias_ih is not None]


def _meaning(array: Array, gates: int) -> str:
    """Return the shape of an array in words."""
    rows = f"{gates}*hidden_size"
    return {"x": f"(input_size, {rows})", "h": f"(hidden_size, {rows})", "b": f"({rows},)"}.get(
        array.parts, f"(2, {rows})"
    )


def _check_weights(weights: Any) -> None:
    """Raise an error for anything but the arrays of a Keras layer."""
    pair = "keras_layer.get_weights(), and keras_layer.get_config() as config"
    if isinstance(weights, (str, PathLike)):
        got = (
            f"the path {fspath(weights)!r}; rnnfast.load_weights reads files, or, after "
            f"keras.models.load_model(path), pass, for its recurrent layer, {pair}"
        )
    elif isinstance(weights, Mapping) or not hasattr(weights, "__iter__"):
        got = f"{type(weights).__name__}; pass {pair}"
    else:
        return
    raise TypeError(f"weights: expected a list of arrays, got {got}")
