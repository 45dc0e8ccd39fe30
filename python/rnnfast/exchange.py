"""Weights from and to PyTorch and Keras. Neither library is imported where its weights come in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.exchange import keras_config
from rnnfast.functional import Weights
from rnnfast.layers.module import Module
from rnnfast.layers.recurrent import Recurrent

_KERAS_GATES = {
    "rnn_tanh": (0,),
    "rnn_relu": (0,),
    "lstm": (0, 1, 2, 3),  # ifco: its c is our g
    "gru": (1, 0, 2),  # zrh
    "gru_reset_before": (1, 0, 2),
}


def load_torch_state_dict(module: Module, state_dict: Mapping[str, Any], prefix: str = "") -> None:
    """Set the parameters of a layer or a model from those of a PyTorch module.

    Parameters of recurrent layers, embeddings and linear layers have the same names, shapes and
    gate orders in both. A layer of one layer and direction also takes those of a PyTorch cell
    (`LSTMCell`, `GRUCell`, `RNNCell`), whose names lack the `_l0`. The initial states of a layer
    with `learn_state` have names in `rnnfast.torch`, and not in `torch.nn`.

    Args:
        module: A layer, or a model made of them; a model's names are those of its attributes.
        state_dict: Tensors or arrays by name, such as `torch_module.state_dict()`, or what
            `safetensors.numpy.load_file` reads. They may be on any device and of any real type,
            bfloat16 included.
        prefix: The part of the state dict to read, in its words: "decoder.rnn" for the names
            "decoder.rnn.weight_ih_l0" and so on. Other names are then left aside.

    Raises:
        ValueError: A name is missing or unknown, or a shape differs. Nothing is changed then.
        TypeError: `state_dict` is a path or a module instead, or a value is not an array of reals.
    """
    _check_state_dict(state_dict)
    start = f"{prefix}." if prefix else ""
    given = {name: value for name, value in state_dict.items() if name.startswith(start)}
    cell = (
        isinstance(module, Recurrent)
        and (module.num_layers, module.bidirectional) == (1, False)
        and f"{start}weight_hh" in given
    )
    names = {}  # ours, by the name in the state dict
    for parameter in module.parameters():
        theirs = parameter.name.removesuffix("_l0") if cell else parameter.name
        names[start + theirs] = parameter.name
    checks.same_names("state_dict", given, names)
    module.load_state_dict({names[name]: _array(value) for name, value in given.items()})


def to_torch_state_dict(module: Module, prefix: str = "") -> dict[str, Any]:
    """The parameters of a layer or a model as PyTorch's tensors: copies, on the CPU.

    Args:
        module: A layer or a model.
        prefix: What names start with, as for `load_torch_state_dict`.

    Returns:
        Tensors by name, for `torch_module.load_state_dict`.

    Raises:
        ImportError: PyTorch is not installed.
    """
    import torch

    start = f"{prefix}." if prefix else ""
    return {start + name: torch.from_numpy(a) for name, a in module.state_dict().items()}


def load_keras_weights(
    layer: Recurrent,
    weights: Sequence[ArrayLike],
    config: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Set a layer's parameters from those of Keras layers: `SimpleRNN`, `LSTM` or `GRU`.

    Keras has one bias where we have two (`bias_hh` is set to zero), but for a GRU with
    `reset_after`.

    Arrays do not tell what a Keras layer computes with them: Keras 1 and 2 had "hard_sigmoid"
    where Keras 3 has "sigmoid", and the results differ by tens of percent. So give `config`.
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
            f"load_keras_weights: without config, Keras's layer is assumed to have {assumed}; "
            "pass config=keras_layer.get_config() to have it checked",
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
    """A layer's parameters as Keras's `set_weights` takes them; see `load_keras_weights`.

    The two biases are added up where Keras has one. Weights of several layers stand one after the
    other: for each layer and direction three arrays, or two without biases.

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


def reordered(values: RealArray, order: Sequence[int]) -> RealArray:
    """Row blocks of a matrix or a vector, of equal size, in another order."""
    blocks: RealArray = values.reshape(len(order), -1, *values.shape[1:])[list(order)]
    return blocks.reshape(values.shape)


def _keras_form(layer: Recurrent) -> tuple[tuple[int, ...], bool]:
    """Our row blocks in the order of Keras's columns, and whether Keras has two biases."""
    if layer.cell not in _KERAS_GATES:
        raise ValueError(
            f"layer: expected a cell that Keras has, one of {', '.join(_KERAS_GATES)}, got "
            f"{layer.cell!r}"
        )
    if layer.learn_state:
        raise ValueError(
            "layer: expected one without learn_state, as Keras's weights have no initial state, "
            "got learn_state=True"
        )
    if layer.proj_size:
        raise ValueError(
            "layer: expected one without a projection, which Keras's LSTM does not have, got "
            f"proj_size={layer.proj_size}"
        )
    return _KERAS_GATES[layer.cell], layer.cell == "gru"


def _keras_assumptions(layer: Recurrent) -> str:
    """What has to be true of a Keras layer for its weights to be a layer's, in words."""
    _keras_form(layer)
    if layer.cell in ("rnn_tanh", "rnn_relu"):
        return f"activation={layer.cell.removeprefix('rnn_')!r}"
    functions = "activation='tanh', recurrent_activation='sigmoid'"
    if layer.cell == "lstm":
        return functions
    return f"{functions}, reset_after={layer.cell == 'gru'}"


def _keras_shapes(weights: Weights, two_biases: bool) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shapes of Keras's arrays of one layer in one direction, and what they are in words."""
    (rows, inputs), hidden = weights.weight_ih.shape, weights.weight_hh.shape[1]
    gates = f"{rows // hidden}*hidden_size"
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "kernel": ((inputs, rows), f"(input_size, {gates})"),
        "recurrent_kernel": ((hidden, rows), f"(hidden_size, {gates})"),
    }
    if weights.bias_ih is not None:
        shapes["bias"] = ((2, rows), f"(2, {gates})") if two_biases else ((rows,), f"({gates},)")
    return shapes


def _check_state_dict(state_dict: Any) -> None:
    """Raises where something else was given than tensors by name."""
    if isinstance(state_dict, Mapping):
        return
    if isinstance(state_dict, (str, PathLike)):
        got = (
            f"the path {fspath(state_dict)!r}: read the file first, with torch.load(path, "
            "weights_only=True) or safetensors.numpy.load_file(path)"
        )
    else:
        got = type(state_dict).__name__
        if hasattr(state_dict, "state_dict"):
            got += ": give what its state_dict() returns"
    raise TypeError(f"state_dict: expected a dict of tensors or arrays by their names, got {got}")


def _check_weights(weights: Any) -> None:
    """Raises where something else was given than the arrays of a Keras layer."""
    pair = "keras_layer.get_weights(), and as config keras_layer.get_config()"
    if isinstance(weights, (str, PathLike)):
        got = (
            f"the path {fspath(weights)!r}: read the model first, with "
            f"keras.models.load_model(path), and give {pair} of its recurrent layer"
        )
    elif isinstance(weights, Mapping) or not hasattr(weights, "__iter__"):
        got = f"{type(weights).__name__}: give {pair}"
    else:
        return
    raise TypeError(f"weights: expected a list of arrays, got {got}")


def _array(value: Any) -> RealArray:
    """A tensor or array as an array; a tensor of bfloat16, which NumPy lacks, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    return np.asarray(value)
