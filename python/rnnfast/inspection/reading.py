"""How a language model reads a text: the values of its units, and their weights.

U units are those of all recurrent layers, the first layer first; V is the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import backends, checks, known
from rnnfast.inspection.tracing import trace
from rnnfast.traced.graph import ACROSS_UNITS, Node
from rnnfast.training import ByteVocabulary, CharLM

Array = NDArray[np.float32]


def names_of_units(model: CharLM) -> tuple[str, ...]:
    """Return the names of the U units, such as "l0[17]" for unit 17 of layer 0."""
    layers, units = model.recurrent.num_layers, model.recurrent.hidden_size
    return tuple(f"l{layer}[{unit}]" for layer in range(layers) for unit in range(units))


def values_of_units(model: CharLM, text: str, value: str | None = None) -> Array:
    """Return each unit's value after each of N characters, (N, U).

    Args:
        model: The model.
        text: The N characters.
        value: The name of a value of the cell, as of `trace`; None for tanh of the second state
            where the cell has one, else h.

    Raises:
        ValueError: The cell has no such value.
        rnnfast.training.UnknownCharacterError: A character is not in the vocabulary.
    """
    ids = model.vocabulary.encode(text)
    named = known.named_values(model.recurrent.cell)
    states = named.states
    name = states[:2][-1]
    if value is not None:
        name = checks.choice("value", value, (*states, *named.values))
    layers = trace(model, ids[:, None], values=[name])
    values = np.concatenate([layer[name][:, 0] for layer in layers.values()], axis=1)
    if isinstance(model.vocabulary, ByteVocabulary):
        values = values[_last_bytes(text)]
    bounded = np.tanh(values) if value is None and len(states) > 1 else values
    return bounded.astype(np.float32, copy=False)


def _last_bytes(text: str) -> NDArray[np.int64]:
    """Return the place of the last byte of each character."""
    return np.cumsum([len(c.encode("utf-8", "surrogateescape")) for c in text]) - 1


def check_finite(name: str, values: Array, units: Sequence[str], start: int = 0) -> None:
    """Check that all values (N, U) of units are finite.

    Args:
        name: What the error names.
        values: The values.
        units: The names of the units.
        start: The place of the first character.

    Raises:
        ValueError: A value is not finite.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        n, u = np.argwhere(bad)[0]
        raise ValueError(
            f"{name}: expected finite values, got {values[n, u]} in {units[u]} "
            f"at character {start + n}"
        )


def weights_from_characters(model: CharLM) -> dict[str, Array]:
    """Return the weights (U, V) from characters to units for each gate, a block of `weight_ih_l0`.

    Those of an embedding are multiplied in. Rows of units of upper layers are NaN.
    """
    hidden, size = model.recurrent.hidden_size, len(model.vocabulary)
    weight: NDArray[Any] = backends.to_host(model.recurrent.weight_ih_l0.value)
    if model.embedding is not None:
        weight = weight @ backends.to_host(model.embedding.weight.value).T
    blocks = weight.reshape(-1, hidden, size)
    names = _names_of_gates(model.recurrent.cell, len(blocks))
    return {
        name: _rows(model, slice(None, hidden), block)
        for name, block in zip(names, blocks, strict=True)
    }


def _names_of_gates(cell: str, count: int) -> list[str]:
    """Return the names of the gates that row blocks of `weight_ih` belong to.

    A block's name is that of the value that is a function of its part of the input, and of as few
    others as possible; of several such values the last, as i = sigmoid(a_i) comes after a_i. A
    block without a name of its own is "gate k".
    """
    values = known.named_values(cell).values
    parts = {name: _parts_of_input(node) for name, node in values.items()}
    names: list[str] = []
    for gate in range(count):
        depending = [name for name in values if gate in parts[name]]
        depending.sort(key=lambda name: (len(parts[name]), -values[name].number))
        best = depending[0] if depending else ""
        names.append(best if best and best not in names else f"gate {gate}")
    return names


def _parts_of_input(node: Node) -> set[int]:
    """Return the parts of the input, by gate, that a value of a unit is a function of."""
    parts, seen, todo = set(), set(), [node]
    while todo:
        inner = todo.pop()
        if inner.number in seen:
            continue
        seen.add(inner.number)
        if inner.op == "x":
            parts.add(inner.item)
        elif inner.op not in ACROSS_UNITS:
            todo += inner.inputs
    return parts


def weights_to_characters(model: CharLM) -> Array:
    """Return the weights (U, V) from units to characters; NaN for units below the last layer."""
    hidden = model.recurrent.hidden_size
    return _rows(model, slice(-hidden, None), backends.to_host(model.head.weight.value).T)


def _rows(model: CharLM, units: slice, weights: NDArray[Any]) -> Array:
    """Return an array (U, V) with `weights` in the rows of some units, and NaN in the others."""
    result = np.full((len(names_of_units(model)), len(model.vocabulary)), np.nan, np.float32)
    result[units] = weights
    return result
