"""CUDA devices: whether there is one, and what the engine does on it.

Layers, losses, optimisers and functions of rnnfast compute where their arrays are:
`rnnfast.LSTM(..., device="cuda")` has its parameters on the device, as CuPy arrays. Importing this
needs neither a driver nor CuPy.
"""

from __future__ import annotations

from rnnfast._backend import DeviceError
from rnnfast.cuda import _engines
from rnnfast.cuda._devices import VIRTUAL
from rnnfast.cuda._explain import Explanation, Plan, explain

__all__ = [
    "VIRTUAL_DEVICES",
    "DeviceError",
    "Explanation",
    "Plan",
    "explain",
    "is_available",
    "unavailable_reason",
]

VIRTUAL_DEVICES = tuple(VIRTUAL)


def is_available() -> bool:
    """Whether `device="cuda"` works here."""
    return unavailable_reason() is None


def unavailable_reason() -> str | None:
    """Why `device="cuda"` does not work here; None if it does."""
    return _engines.unavailable_reason("cuda")
