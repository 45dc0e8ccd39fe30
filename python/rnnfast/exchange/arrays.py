"""Arrays and tensors of other libraries, by names of one form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rnnfast._engine import backends


def is_module(value: Any) -> bool:
    """Return whether a value is a dataclass, as modules of Equinox are."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, NDArray[Any]]:
    """Return the arrays of nested dicts, lists and dataclasses by joined names.

    Levels are separated by dots, whatever the source writes: "rnn/lstm_cell/kernel:0" becomes
    "rnn.lstm_cell.kernel". What is no array is left out.
    """
    result: dict[str, NDArray[Any]] = {}
    for key, value in tree.items():
        name = prefix + str(key).removesuffix(":0").replace("/", ".").strip(".")
        start = f"{name}." if name else ""
        if is_module(value):
            names = [field.name for field in dataclasses.fields(value)]
            result |= flat({one: getattr(value, one, None) for one in names}, start)
        elif isinstance(value, Mapping):
            result |= flat(value, start)
        elif isinstance(value, (list, tuple)):
            result |= flat(dict(enumerate(value)), start)
        elif hasattr(value, "shape") and hasattr(value, "dtype"):
            result[name] = array_of(name, value)
    return result


def array_of(name: str, value: Any) -> NDArray[Any]:
    """Convert a tensor or array to an array; bfloat16 tensors become float32, as NumPy lacks it."""
    if getattr(value, "is_meta", False):
        return backends.array_of(name, value)  # type: ignore[no-any-return]  # raises an error
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    value = value.numpy() if callable(getattr(value, "numpy", None)) else value
    return backends.array_of(name, value)  # type: ignore[no-any-return]
