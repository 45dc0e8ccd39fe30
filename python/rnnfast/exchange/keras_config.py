"""Checks of the configuration of a Keras layer against a layer of rnnfast."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

from rnnfast.layers.recurrent import Recurrent

Config: TypeAlias = "Mapping[str, Any]"

_LAYERS = ("SimpleRNN", "LSTM", "GRU")
_WRAPPERS = ("Bidirectional", "RNN")
_RNN_CELLS = {"tanh": "rnn_tanh", "relu": "rnn_relu"}  # by the activation
_MERGED = {"sum": "sum", "ave": "mean", "mul": "product"}  # `how` of MergeDirections
_GRU_CELLS = {True: "gru", False: "gru_reset_before"}  # by reset_after


def check(layer: Recurrent, config: Config | Sequence[Config]) -> None:
    """Check that a layer computes the same as Keras layers with these configurations.

    Args:
        layer: The layer.
        config: The result of `get_config()` or `keras.layers.serialize` of the Keras layers: one
            dict, or a sequence of one dict for each of the layer's layers.

    Raises:
        ValueError: The layer computes something else; the message names the option.
        TypeError: `config` is something else.
    """
    configs = [config] if isinstance(config, Mapping) else config
    if isinstance(configs, (str, bytes, PathLike)) or not isinstance(configs, Sequence):
        raise TypeError(
            "config: expected the dict that keras_layer.get_config() returns, or a list of such "
            f"dicts, got {type(config).__name__}"
        )
    if len(configs) != layer.num_layers:
        raise ValueError(
            f"config: expected one for each of num_layers = {layer.num_layers} layers, got "
            f"{len(configs)}"
        )
    for k, one in enumerate(configs):
        label = "config" if len(configs) == 1 else f"config[{k}]"
        _check_layer(label, layer, one)
        if k < len(configs) - 1 and not _returns_sequences(label, one):
            raise ValueError(
                f"{label}: expected return_sequences=True, as the next layer reads every step"
            )


def _check_layer(label: str, layer: Recurrent, config: Config) -> None:
    class_name, options = _named(label, config)
    bidirectional = "merge_mode" in options
    _require(label, "Bidirectional", bidirectional, layer.bidirectional, "bidirectional")
    if not bidirectional:
        _check_direction(label, layer, class_name, options, backwards=False)
        return
    merge_mode = options["merge_mode"]
    if merge_mode != "concat":
        cure = (
            "; load it with config | {'merge_mode': 'concat'}, and put "
            f"rnnfast.MergeDirections({_MERGED[merge_mode]!r}) after the layer"
            if merge_mode in _MERGED
            else ""
        )
        raise ValueError(
            f"{label}: expected merge_mode 'concat', as the outputs of both directions are "
            f"concatenated, got {merge_mode!r}{cure}"
        )
    _check_direction(
        label, layer, *_named(f"{label}['layer']", options.get("layer")), backwards=False
    )
    if options.get("backward_layer") is not None:
        _check_direction(
            label,
            layer,
            *_named(f"{label}['backward_layer']", options["backward_layer"]),
            backwards=True,
        )


def _check_direction(
    label: str, layer: Recurrent, class_name: str | None, options: Config, *, backwards: bool
) -> None:
    """Check the options of one layer in one direction."""
    if "cell" in options:  # keras.layers.RNN around a cell
        class_name, cell_options = _named(f"{label}['cell']", options["cell"])
        class_name = None if class_name is None else class_name.removesuffix("Cell")
        options = {**options, **cell_options}
    if bool(options.get("go_backwards", backwards)) != backwards:
        raise ValueError(
            f"{label}: expected go_backwards={backwards}, got {not backwards}; a layer that goes "
            "backwards equals one that goes forwards over x[::-1]: load it with config | "
            "{'go_backwards': False}"
        )
    cell = _cell(label, class_name, options)
    if cell != layer.cell:
        raise ValueError(
            f"layer: expected cell {cell!r}, which computes what {label} describes, got "
            f"{layer.cell!r}"
        )
    has_bias = layer._weights[0].bias_ih is not None
    _require(label, "units", options.get("units"), layer.hidden_size, "hidden_size")
    _require(label, "use_bias", options.get("use_bias", True), has_bias, "bias")
    ours = {"dropout": "input_dropout", "recurrent_dropout": "recurrent_dropout"}
    dropped = {
        n: options[n] for n in ours if options.get(n) and options[n] != getattr(layer, ours[n])
    }
    if dropped:
        words = " and ".join(f"{name}={rate}" for name, rate in dropped.items())
        same = ", ".join(f"{ours[name]}={rate}" for name, rate in dropped.items())
        warnings.warn(
            f"load_keras_weights: {label} has {words}, which acts only in training and is not "
            f"loaded; a layer with {same} is equivalent",
            stacklevel=5,
        )


def _cell(label: str, class_name: str | None, options: Config) -> str:
    """Return the rnnfast cell that a configuration describes."""
    kind = class_name or _guessed_class(options)
    if kind not in _LAYERS:
        raise ValueError(
            f"{label}: expected the config of {', '.join(_LAYERS)} of Keras 2 or 3, or of one of "
            f"these in {' or '.join(_WRAPPERS)}, got {kind or 'one without units'}"
        )
    activation = _function(options.get("activation"))
    if kind == "SimpleRNN":
        _one_of(label, "activation", activation, _RNN_CELLS)
        return _RNN_CELLS[activation]
    _one_of(label, "activation", activation, ["tanh"])
    _one_of(
        label, "recurrent_activation", _function(options.get("recurrent_activation")), ["sigmoid"]
    )
    return "lstm" if kind == "LSTM" else _GRU_CELLS[bool(options.get("reset_after", False))]


def _guessed_class(options: Config) -> str | None:
    """Infer the class from a bare `get_config()`, which does not name it."""
    if "units" not in options:
        return None
    if "unit_forget_bias" in options:
        return "LSTM"
    return "GRU" if "recurrent_activation" in options else "SimpleRNN"


def _named(label: str, config: Any) -> tuple[str | None, Config]:
    """Return the class (None if the configuration does not name it) and the options."""
    if not isinstance(config, Mapping):
        raise TypeError(f"{label}: expected a dict, got {type(config).__name__}")
    if isinstance(config.get("config"), Mapping) and "class_name" in config:
        return config["class_name"], config["config"]
    return None, config


def _returns_sequences(label: str, config: Config) -> bool:
    _, options = _named(label, config)
    _, inner = _named(label, options["layer"]) if "merge_mode" in options else (None, options)
    return bool(inner.get("return_sequences", True))


def _function(value: Any) -> str:
    """Return the name of an activation, which is a string or a serialised function."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), str):
        return str(value["config"])
    return value if isinstance(value, str) else f"a custom function ({type(value).__name__})"


def _one_of(label: str, name: str, value: str, valid: Any) -> None:
    if value not in valid:
        raise ValueError(
            f"{label}: expected {name} {' or '.join(map(repr, valid))}, got {value!r}, which no "
            "cell with kernels computes, so the results would differ; rnnfast.read_layer makes a "
            "layer of a cell that does"
        )


def _require(label: str, name: str, value: Any, ours: Any, our_name: str) -> None:
    if value != ours:
        raise ValueError(
            f"layer: expected {our_name} = {value}, as {label} has {name}={value}, got {ours}"
        )
