"""CUDA devices: their availability, and the plans and settings of the engine on them.

Layers, losses, optimisers and functions of rnnfast run where their arrays are:
`rnnfast.LSTM(..., device="cuda")` keeps its parameters on the device, as CuPy arrays. Importing
this module requires neither a driver nor CuPy.
"""

from __future__ import annotations

from rnnfast._engine import backends, checks
from rnnfast._engine.backends import DeviceError
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

backends.register("cuda", _engines.engine)


def is_available() -> bool:
    """Return whether `device="cuda"` works here."""
    return unavailable_reason() is None


def unavailable_reason() -> str | None:
    """Return why `device="cuda"` does not work here; None if it does."""
    return _engines.unavailable_reason()


def set_float32_matmul_precision(precision: str, device: str = "cuda") -> None:
    """Set the precision of the recurrent products of float32 layers on a device.

    The names are those of `torch.set_float32_matmul_precision`. The backward pass of a call uses
    the same precision as its forward pass. Compared with "highest", results have relative
    differences of about 1e-5 with "high" and 1e-2 with "medium".

    Args:
        precision: "highest" multiplies float32 values; "high" splits each into a pair of bfloat16
            values, which takes three products on tensor cores; "medium" rounds to bfloat16, like
            `precision="bfloat16"` of a layer. Sums are always in float32.
        device: The name of the device.

    Raises:
        ValueError: The precision or the device is unknown.
        DeviceError: The device cannot be used here; the message says why.
    """
    checks.choice("precision", precision, MATMUL_PRECISIONS)
    _engines.named(device).matmul_precision = precision


def get_float32_matmul_precision(device: str = "cuda") -> str:
    """Return the setting of `set_float32_matmul_precision`, by default "highest"."""
    return _engines.named(device).matmul_precision
