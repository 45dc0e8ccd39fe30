"""The devices that this build and machine have, and why not the others."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnfast._engine import checks
from rnnfast._engine.backend import DeviceError
from rnnfast.cuda._engine import Engine

# Development builds of the same sources for the emulator, and the variable with their path.
EMULATED = {"emulated": "RNNFAST_EMULATED", "emulated_ptx": "RNNFAST_EMULATED_PTX"}


def get(name: str) -> Engine:
    """The engine of a device, "cuda" or a name of `EMULATED`.

    Raises:
        ValueError: There is no device of this name.
        DeviceError: It cannot be used here; the message says why.
    """
    if name not in EMULATED:
        checks.choice("device", name, ("cpu", "cuda"))
    reason = unavailable_reason(name)
    if reason is not None:
        raise DeviceError(f"device {name!r}: {reason}")
    return _engine(name)


def unavailable_reason(name: str) -> str | None:
    """Why a device cannot be used here; None if it can."""
    if name in EMULATED:
        return None if _extension(name) else _not_built(name)
    extension = _extension("cuda")
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


def _not_built(name: str) -> str:
    return (
        "the emulator's build is missing: build with RNNFAST_EMULATOR=ON, and set "
        f"{EMULATED[name]} to the path of _{name}.so"
    )


@cache
def _extension(name: str) -> ModuleType | None:
    """The compiled module of a device; None if it was not built."""
    path = os.environ.get(EMULATED.get(name, ""))
    if path:
        return _load(Path(path))
    try:
        return importlib.import_module(f"rnnfast._{name}")
    except ModuleNotFoundError:
        return None


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"rnnfast.{path.name.split('.')[0]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _engine(name: str) -> Engine:
    extension: Any = _extension(name)
    if name == "cuda":
        from rnnfast.cuda._cupy import CupyEngine

        return CupyEngine(name, extension)
    from rnnfast.cuda._emulated import EmulatedEngine

    return EmulatedEngine(name, extension)
