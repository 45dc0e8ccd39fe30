"""How a language model reads a text: the values of its units, and their weights.

U units are those of all recurrent layers, the first layer first; V is the size of the vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import backends
from rnnfast.training import ByteVocabulary, CharLM

Array = NDArray[np.float32]


def names_of_units(model: CharLM) -> tuple[str, ...]:
    """Return the names of the U units, such as "l0[17]" for unit 17 of layer 0."""
    layers, units = model.recurrent.num_layers, model.recurrent.hidden_size
    return tuple(f"l{layer}[{unit}]" for layer in range(layers) for unit in range(units))


def values_of_units(model: CharLM, text: str) -> Array:
    """Return each unit's value after each of N characters, (N, U).

    The value is tanh of the second state where the cell has one, else h.

    Raises:
        rnnfast.training.UnknownCharacterError: A character is not in the vocabulary.
    """
    ids = model.vocabulary.encode(text)
    with model.evaluating():
        stream = model.stream()
    values = np.empty((ids.size, len(names_of_units(model))), np.float32)
    for n in range(ids.size):
        stream(ids[n : n + 1])
        (state,) = stream.state
        has_memory = isinstance(state, tuple)
        value = backends.to_host(state[1] if has_memory else state).reshape(-1)
        values[n] = np.tanh(value) if has_memory else value
    if isinstance(model.vocabulary, ByteVocabulary):
        values = values[_last_bytes(text)]
    return values


def _last_bytes(text: str) -> NDArray[np.int64]:
    """Return the place of the last byte of each character."""
    return np.cumsum([len(c.encode("utf-8", "surrogateescape")) for c in text]) - 1


def weights_from_characters(model: CharLM) -> dict[str, Array]:
    """Return the weights (U, V) from characters to units for each gate, a block of `weight_ih_l0`.

    Those of an embedding are multiplied in. Rows of units of upper layers are NaN.
    """
    hidden, size = model.recurrent.hidden_size, len(model.vocabulary)
    weight: NDArray[Any] = backends.to_host(model.recurrent.weight_ih_l0.value)
    if model.embedding is not None:
        weight = weight @ backends.to_host(model.embedding.weight.value).T
    result = {}
    for gate, block in enumerate(weight.reshape(-1, hidden, size)):
        result[f"gate {gate}"] = _rows(model, slice(None, hidden), block)
    return result


def weights_to_characters(model: CharLM) -> Array:
    """Return the weights (U, V) from units to characters; NaN for units below the last layer."""
    hidden = model.recurrent.hidden_size
    return _rows(model, slice(-hidden, None), backends.to_host(model.head.weight.value).T)


def _rows(model: CharLM, units: slice, weights: NDArray[Any]) -> Array:
    """Return an array (U, V) with `weights` in the rows of some units, and NaN in the others."""
    result = np.full((len(names_of_units(model)), len(model.vocabulary)), np.nan, np.float32)
    result[units] = weights
    return result
