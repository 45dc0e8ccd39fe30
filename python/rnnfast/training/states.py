"""States of any depth as what a checkpoint holds: JSON values, and tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._backend import to_host

_MARK = "tensor"  # the key of the object that stands for an array: its value is the tensor's name


def flatten(state: Any, name: str, tensors: dict[str, NDArray[Any]]) -> Any:
    """Puts the arrays of a state into `tensors`, and returns the rest as JSON can hold it.

    Args:
        state: dicts, lists, tuples, arrays, numbers, texts and None.
        name: the beginning of the tensors' names.
        tensors: where the arrays go.

    Raises:
        TypeError: the state holds something else.
    """
    if isinstance(state, Mapping):
        if not all(isinstance(key, str) for key in state):
            raise TypeError(f"{name}: expected a dict with texts as keys, got {list(state)}")
        return {key: flatten(value, f"{name}.{key}", tensors) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [flatten(value, f"{name}.{i}", tensors) for i, value in enumerate(state)]
    if state is None or isinstance(state, (bool, int, float, str)):
        return state
    if isinstance(state, (np.bool_, np.integer, np.floating)):
        return state.item()
    if hasattr(state, "dtype") and hasattr(state, "shape"):
        tensors[name] = to_host(state)
        return {_MARK: name}
    raise TypeError(
        f"{name}: expected a state of dicts, lists, arrays, numbers, texts and None, got "
        f"{type(state).__name__}"
    )


def unflatten(state: Any, tensors: Mapping[str, NDArray[Any]]) -> Any:
    """Makes the state of which `flatten` made this; tuples come back as lists.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(state, Mapping):
        if list(state) == [_MARK]:
            return tensors[state[_MARK]]
        return {key: unflatten(value, tensors) for key, value in state.items()}
    if isinstance(state, list):
        return [unflatten(value, tensors) for value in state]
    return state
