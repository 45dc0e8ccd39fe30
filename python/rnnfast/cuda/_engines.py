"""Access to the engine of CUDA devices, or to the reason why it is unavailable."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from types import ModuleType

from rnnfast._engine import backends
from rnnfast._engine.backends import DeviceError
from rnnfast.cuda._engine import Engine


def engine() -> Engine:
    """Return the engine of the device "cuda".

    Raises:
        DeviceError: The device cannot be used here; the message says why.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise DeviceError(f"device 'cuda': {reason}")
    return _engine()


def named(device: str) -> Engine:
    """Return the engine of a registered device.

    Raises:
        ValueError: No device has this name, or it is the CPU.
        DeviceError: The device cannot be used here; the message says why.
    """
    found = backends.get(device)
    if not isinstance(found, Engine):
        raise ValueError(f"device: expected a device that runs CUDA kernels, got {device!r}")
    return found


def unavailable_reason() -> str | None:
    """Return why the device "cuda" cannot be used here; None if it can."""
    extension = compiled_module()
    if extension is None:
        return "rnnfast was built without CUDA, as no CUDA compiler was found"
    count, error = extension.device_count()
    if error:
        return f"CUDA finds no device: {error}"
    if count == 0:
        return "CUDA finds no device"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: pip install cupy-cuda13x nvidia-cublas"
    return None


@cache
def compiled_module() -> ModuleType | None:
    """Return the compiled module of the CUDA engine; None if it was not built."""
    try:
        return importlib.import_module("rnnfast._cuda")
    except ModuleNotFoundError:
        return None


@cache
def _engine() -> Engine:
    from rnnfast.cuda._cupy import CupyEngine

    extension = compiled_module()
    assert extension is not None
    return CupyEngine("cuda", extension)
