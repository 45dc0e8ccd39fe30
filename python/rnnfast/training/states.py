"""Conversion of nested states to the JSON values and named tensors that checkpoints hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine.backends import to_host

# Keys of the JSON objects that replace a NumPy array and a PyTorch tensor; the value is its name.
_ARRAY, _TORCH = "tensor", "torch_tensor"


def flatten(state: Any, name: str, tensors: dict[str, NDArray[Any]]) -> Any:
    """Move the arrays of a state into `tensors`, and return the rest as JSON values.

    Args:
        state: Dicts, lists, tuples, arrays, PyTorch tensors on the CPU, numbers, strings and None.
        name: The prefix of the tensors' names.
        tensors: The dict that receives the arrays.

    Raises:
        TypeError: The state holds a value of another type.
    """
    if isinstance(state, Mapping):
        if not all(isinstance(key, str) for key in state):
            raise TypeError(f"{name}: expected a dict with strings as keys, got {list(state)}")
        return {key: flatten(value, f"{name}.{key}", tensors) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [flatten(value, f"{name}.{i}", tensors) for i, value in enumerate(state)]
    if state is None or isinstance(state, (bool, int, float, str)):
        return state
    if isinstance(state, (np.bool_, np.integer, np.floating)):
        return state.item()
    if type(state).__module__ == "torch" and hasattr(state, "numpy"):
        tensors[name] = state.numpy().copy()
        return {_TORCH: name}
    if hasattr(state, "dtype") and hasattr(state, "shape"):
        tensors[name] = to_host(state)
        return {_ARRAY: name}
    raise TypeError(
        f"{name}: expected dicts, lists, arrays, numbers, strings and None, got "
        f"{type(state).__name__}"
    )


def unflatten(state: Any, tensors: Mapping[str, NDArray[Any]]) -> Any:
    """Rebuild the state that `flatten` converted; tuples come back as lists.

    Raises:
        KeyError: A tensor is missing.
    """
    if isinstance(state, Mapping):
        if list(state) == [_ARRAY]:
            return tensors[state[_ARRAY]]
        if list(state) == [_TORCH]:
            import torch  # imported late, as only runs that use PyTorch have such tensors

            return torch.from_numpy(tensors[state[_TORCH]].copy())
        return {key: unflatten(value, tensors) for key, value in state.items()}
    if isinstance(state, list):
        return [unflatten(value, tensors) for value in state]
    return state
