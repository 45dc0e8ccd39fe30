"""Models of Core ML that are neural networks (`.mlmodel`), by the numbers of their schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.facts import Facts, checked
from rnnfast.exchange.files import wire
from rnnfast.exchange.files.content import Content
from rnnfast.exchange.files.wire import Message
from rnnfast.exchange.found import Found, find, stacked

_PIPELINES = (200, 201, 202)  # the first two hold one more message
_NETWORKS = (303, 403, 500)  # of a regressor, of a classifier, by itself
_LAYERS = {400: "simpleRecurrent", 410: "gru", 420: "uniDirectionalLSTM", 430: "biDirectionalLSTM"}
_LSTM = ("inputGate", "forgetGate", "blockInput", "outputGate")
_GRU = ("updateGate", "resetGate", "outputGate")
_KINDS = ("WeightMatrix", "RecursionMatrix", "BiasVector")
_LSTM_FIELDS = {
    **{start + k: f"{g}{kind}" for start, kind in zip((1, 20, 40), _KINDS, strict=True)
       for k, g in enumerate(_LSTM)},
    60: "inputGatePeepholeVector", 61: "forgetGatePeepholeVector", 62: "outputGatePeepholeVector",
}  # fmt: skip
_GRU_FIELDS = {
    start + k: f"{g}{kind}"
    for start, kind in zip((30, 50, 70), _KINDS, strict=True)
    for k, g in enumerate(_GRU)
}
_RNN_FIELDS = {30: "weightMatrix", 31: "recursionMatrix", 32: "biasVector"}
_FUNCTIONS = {
    10: "relu", 30: "tanh", 40: "sigmoid", 41: "hard_sigmoid_keras2", 60: "softsign",
    70: "softplus",
}  # fmt: skip
_DEPTH = 8  # of pipelines in pipelines


def read(data: bytes) -> Content:
    """Return the recurrent layers of a model, which has no need of Core ML."""
    found = [one for layer in _layers(wire.parsed(memoryview(data)), 0) for one in _found(layer)]
    return Content({}, found)


def _layers(model: Message, depth: int) -> Iterator[Message]:
    """Yield the layers of all networks of a model."""
    if depth > _DEPTH:
        raise ValueError(f"expected at most {_DEPTH} pipelines in each other")
    for number in _NETWORKS:
        yield from wire.messages(wire.message(model, number), 1)
    for number in _PIPELINES:
        pipeline = wire.message(model, number)
        for inner in wire.messages(pipeline if number == 202 else wire.message(pipeline, 1), 1):
            yield from _layers(inner, depth + 1)


def _found(layer: Message) -> list[Found]:
    """Return the recurrent network in a layer, if it is one."""
    number = next((n for n in _LAYERS if n in layer), None)
    if number is None:
        return []
    fields, name = wire.message(layer, number), wire.text(layer, 1)
    sizes = wire.integer(fields, 1), wire.integer(fields, 2)
    facts = _facts(number, fields)
    backwards = bool(wire.integer(fields, 100))
    if number == 400:
        parts, given = [fields], _RNN_FIELDS
    elif number == 410:
        parts, given = [fields], _GRU_FIELDS
    else:
        parts, given = wire.messages(fields, 20), _LSTM_FIELDS
    directions = [
        find(_arrays(f"{name}.{k}", part, given, sizes), "coreml", {f"{name}.{k}": facts})
        for k, part in enumerate(parts)
    ]
    if len(directions) != (2 if number == 430 else 1) or not all(directions):
        raise ValueError(f"layer {name!r}: expected weights of the sizes that it states")
    networks = [one for found in directions for one in found]
    readings = networks[0].readings
    if number == 430:
        readings = tuple(
            type(r)(r.convention, r.parts, 2) for r in stacked(networks, f"layer {name!r}")
        )
    return [Found(name, readings, facts, backwards)]


def _arrays(
    prefix: str, fields: Message, names: Mapping[int, str], sizes: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a layer in one direction."""
    inputs, hidden = sizes
    shapes = {"WeightMatrix": (hidden, inputs), "weightMatrix": (hidden, inputs),
              "RecursionMatrix": (hidden, hidden), "recursionMatrix": (hidden, hidden)}  # fmt: skip
    result = {}
    for number, name in names.items():
        if number not in fields:
            continue
        values = _weights(name, wire.message(fields, number))
        shape = next((s for end, s in shapes.items() if name.endswith(end)), (hidden,))
        result[f"{prefix}.{name}"] = values.reshape(shape)
    return result


def _weights(name: str, fields: Message) -> NDArray[np.float32]:
    """Return the numbers of a weight, which may be of 32 or 16 bits."""
    if 30 in fields or 31 in fields:
        raise ValueError(f"{name}: expected numbers of 32 or 16 bits, got quantised ones")
    if 2 in fields:
        return np.frombuffer(fields[2][-1], "<f2").astype(np.float32)
    return wire.floats(fields, 1)


def _facts(number: int, fields: Message) -> Facts:
    """Return the activations, the clip and the options of a layer."""
    functions = [_function(message) for message in wire.messages(fields, 10)]
    names = ("gate_activation", "activation", "output_activation")
    named = zip(names[1:] if number == 400 else names, functions, strict=False)
    facts = checked(dict(named))
    if number in (400, 410):
        return facts
    options = wire.message(fields, 15)
    if 60 in options:
        facts["cell_clip"] = float(np.frombuffer(options[60][-1], "<f4")[0])
    if wire.integer(options, 50):
        facts["coupled"] = True
    return facts


def _function(fields: Message) -> str | None:
    """Return the key in `ACTIVATIONS` of an activation; None for a hard sigmoid without numbers.

    coremltools writes such a hard sigmoid.
    """
    number = next(iter(fields), None)
    alpha = beta = 0.0
    if number in (5, 31, 41):
        inner = wire.message(fields, number)
        alpha, beta = (
            float(np.frombuffer(inner[k][-1], "<f4")[0]) if k in inner else 0.0 for k in (1, 2)
        )
    if number == 41 and (alpha, beta) == (0.0, 0.0):
        return None
    if number == 41 and not (abs(alpha - 0.2) < 1e-6 and abs(beta - 0.5) < 1e-6):
        if abs(alpha - 1 / 6) < 1e-6 and abs(beta - 0.5) < 1e-6:
            return "hard_sigmoid_keras3"
        number = None
    if number == 5 and (alpha, beta) == (1.0, 0.0):
        return "linear"
    if number == 31 and (alpha, beta) == (1.0, 1.0):
        return "tanh"
    if number not in _FUNCTIONS:
        raise ValueError("expected an activation that is known, such as tanh or sigmoid")
    return _FUNCTIONS[number]
