"""What contestants are, and what they share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray

from rnnfast import functional

Results: TypeAlias = Mapping[str, NDArray[Any]]
Call: TypeAlias = Callable[[], Any]
Contestant: TypeAlias = tuple[Call, Callable[[Any], Results]]
"""The call to time, and a function that converts its result to named arrays afterwards."""


class UnavailableError(Exception):
    """A peer is not installed, or does not support a case; the text says which."""


def named(weights: functional.Weights) -> dict[str, NDArray[Any]]:
    """Return the weights that are not None by name."""
    return {name: w for name, w in weights._asdict().items() if w is not None}


def need(*modules: str) -> None:
    """Raise `UnavailableError` if a module is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UnavailableError(f"{module} is not installed")
