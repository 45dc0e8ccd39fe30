"""CUDA devices: whether there is one, and what the engine does on it.

Layers, losses, optimisers and functions of rnnfast compute where their arrays are:
`rnnfast.LSTM(..., device="cuda")` has its parameters on the device, as CuPy arrays. Importing this
needs neither a driver nor CuPy.
"""

from __future__ import annotations

from rnnfast._engine import backend, checks
from rnnfast._engine.backend import DeviceError
from rnnfast.cuda import _engines
from rnnfast.cuda._device import MATMUL_PRECISIONS
from rnnfast.cuda._devices import VIRTUAL
from rnnfast.cuda._explain import Explanation, Plan, explain

__all__ = [
    "VIRTUAL_DEVICES",
    "DeviceError",
    "Explanation",
    "Plan",
    "explain",
    "get_float32_matmul_precision",
    "is_available",
    "set_float32_matmul_precision",
    "unavailable_reason",
]

VIRTUAL_DEVICES = tuple(VIRTUAL)

backend.register("cuda", _engines.engine)


def is_available() -> bool:
    """Whether `device="cuda"` works here."""
    return unavailable_reason() is None


def unavailable_reason() -> str | None:
    """Why `device="cuda"` does not work here; None if it does."""
    return _engines.unavailable_reason()


def set_float32_matmul_precision(precision: str, device: str = "cuda") -> None:
    """Choose what the recurrent products of float32 layers multiply on a device.

    The names are those of `torch.set_float32_matmul_precision`. A call's backward multiplies as its
    forward did. Results differ from "highest" by about 1e-5 of their size with "high", by 1e-2 with
    "medium".

    Args:
        precision: "highest": float32. "high": float32 as pairs of bfloat16, by three products on
            tensor cores. "medium": bfloat16, as a layer's `precision="bfloat16"`. Sums are float32.
        device: Name of the device.

    Raises:
        ValueError: The precision or the device is unknown.
        DeviceError: The device cannot be used here; the message says why.
    """
    checks.choice("precision", precision, MATMUL_PRECISIONS)
    _engines.named(device).matmul_precision = precision


def get_float32_matmul_precision(device: str = "cuda") -> str:
    """What `set_float32_matmul_precision` chose; "highest" at first."""
    return _engines.named(device).matmul_precision
