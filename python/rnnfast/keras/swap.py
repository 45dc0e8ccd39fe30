"""Functions that act on all recurrent layers of a model of Keras."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import keras

from rnnfast.keras.layers import GRU, LSTM, SimpleRNN, _Layer

_FAST = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU, keras.layers.SimpleRNN: SimpleRNN}
_Model = TypeVar("_Model")


def accelerate(model: _Model) -> _Model:
    """Let rnnfast run the recurrent layers inside a model, in place.

    Layers stay the same objects with the same weights; only their classes change, to those of
    `rnnfast.keras`. A model that is saved afterwards needs `import rnnfast.keras` when it is
    loaded.

    Args:
        model: A model or layer of Keras, such as a `keras.Sequential` or a `Bidirectional`.

    Returns:
        The model itself.

    Raises:
        TypeError: It is neither a model nor a layer.

    Warns:
        UserWarning: The model has no layer that rnnfast can run.
    """
    changed = []
    for layer in _layers(model):
        fast = _FAST.get(type(layer))
        if fast is not None:
            layer.__class__ = fast
            changed.append(layer)
        if isinstance(layer, keras.Model):  # forget what was compiled with the old classes
            layer.train_function = layer.test_function = layer.predict_function = None
    if all(layer.why_not() for layer in changed):
        found = "; ".join(f"{path}: {what}" for path, what in report(model).items())
        warnings.warn(f"accelerate changed nothing: {found or 'no recurrent layers'}", stacklevel=2)
    return model


def report(model: object) -> dict[str, str]:
    """Say for each recurrent layer of a model what runs it.

    Args:
        model: A model or layer of Keras.

    Returns:
        "rnnfast", or "Keras: " and the reason, by the path of the layer.

    Raises:
        TypeError: It is neither a model nor a layer.
    """
    result = {}
    for layer in _layers(model):
        if isinstance(layer, _Layer):
            why = layer.why_not()
            result[layer.path] = f"Keras: {why}" if why else "rnnfast"
        elif isinstance(layer, keras.layers.RNN):
            result[layer.path] = "Keras: it is not a layer of rnnfast.keras"
    return result


def _layers(model: object) -> list[Any]:
    """Return a model or layer and all layers inside it."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model: expected a model or a layer of Keras, got {type(model).__name__}")
    return list(model._flatten_layers())
