"""The recurrent layers that the configuration of a Keras model lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rnnfast.exchange.facts import ACTIVATIONS, Facts

# By the first number of the version; tf.keras calls itself 2.x-tf.
_HARD_SIGMOIDS = {
    "1": "hard_sigmoid_keras2",
    "2": "hard_sigmoid_keras2",
    "3": "hard_sigmoid_keras3",
}
_KINDS = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU")


class Layer(NamedTuple):
    """A recurrent layer of a model.

    Attributes:
        name: Its name in the model.
        class_name: Of the layer or the wrapper around it.
        bidirectional: Whether it has two directions.
        facts: What its configuration says.
        backwards: Whether it goes backwards.
        notes: Options that the caller has to follow.
        problem: Why it cannot be loaded; empty if it can.
    """

    name: str
    class_name: str
    bidirectional: bool
    facts: Facts
    backwards: bool
    notes: tuple[str, ...]
    problem: str


def layers_of(config: object, version: str) -> Iterator[Layer]:
    """Yield the recurrent layers of a model and of the models in it, in order.

    Args:
        config: The configuration of a model.
        version: The version of Keras that wrote it, which decides what hard_sigmoid is.
    """
    todo = [config]
    for _ in range(100_000):
        if not todo:
            return
        one = todo.pop(0)
        if not isinstance(one, Mapping):
            continue
        class_name, options = one.get("class_name"), one.get("config")
        inner = options.get("layers") if isinstance(options, Mapping) else options
        if isinstance(inner, Sequence) and not isinstance(inner, str):
            todo[:0] = list(inner)
        elif isinstance(options, Mapping):
            layer = _layer(str(class_name), options, version)
            if layer is not None:
                yield layer
            elif isinstance(options.get("layer"), Mapping):  # a wrapper, such as TimeDistributed
                todo.insert(0, options["layer"])


def _layer(class_name: str, options: Mapping[str, Any], version: str) -> Layer | None:
    """Return a recurrent layer; None for any other."""
    name, bidirectional, notes = str(options.get("name", "")), class_name == "Bidirectional", []
    inner, inner_options = class_name, options
    if bidirectional and isinstance(options.get("layer"), Mapping):
        inner, inner_options = _named(options["layer"])
        if options.get("merge_mode", "concat") != "concat":
            notes.append(f"merge_mode={options['merge_mode']!r}: see rnnfast.MergeDirections")
    if inner == "RNN" and isinstance(inner_options.get("cell"), Mapping):
        cell, cell_options = _named(inner_options["cell"])
        inner, inner_options = cell.removesuffix("Cell"), {**inner_options, **cell_options}
    if inner not in _KINDS:
        return None
    if inner_options.get("stateful"):
        notes.append("stateful: pass the state of a call to the next")
    if inner_options.get("return_sequences") is False:
        notes.append("return_sequences=False: only the last output is used")
    facts, problem = _facts(inner, inner_options, version)
    backwards = bool(inner_options.get("go_backwards", False)) and not bidirectional
    return Layer(name, inner, bidirectional, facts, backwards, tuple(notes), problem)


def _named(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    options = config.get("config")
    return str(config.get("class_name")), options if isinstance(options, Mapping) else {}


def _facts(kind: str, options: Mapping[str, Any], version: str) -> tuple[Facts, str]:
    """Return what a configuration says, and why the layer cannot be loaded."""
    if kind.startswith("CuDNN"):
        return Facts(), ""
    facts, named = Facts(), {"activation": options.get("activation", "tanh")}
    if kind != "SimpleRNN":
        named["recurrent_activation"] = options.get("recurrent_activation")
    for name, value in named.items():
        value = value.get("config") if isinstance(value, Mapping) else value
        if value == "hard_sigmoid":
            value = _HARD_SIGMOIDS.get(version.split(".")[0])
            if value is None:
                continue  # which one it is has to be told
        if not isinstance(value, str) or value not in ACTIVATIONS:
            return facts, f"{name}={value!r} is no function that is known"
        facts["activation" if name == "activation" else "gate_activation"] = value
    if kind == "GRU":
        facts["reset_after"] = bool(options.get("reset_after", False))
    return facts, ""
