"""The emulated devices: NumPy arrays marked with their device, and kernels that the CPU runs.

Importing this module registers them as `device="emulated"` and `device="emulated_ptx"` of layers.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from first_use import compile_with_gcc
from numpy.typing import DTypeLike, NDArray

from rnnfast import cuda
from rnnfast._engine import backends
from rnnfast.cuda._engine import Engine
from rnnfast.cuda._kernels import Kernels

# The names of the devices, each with the variable that holds the path of its module.
MODULES = {"emulated": "RNNFAST_EMULATED", "emulated_ptx": "RNNFAST_EMULATED_PTX"}


class EmulatedArray(np.ndarray[Any, np.dtype[Any]]):
    """An array that counts as lying on an emulated device, as do arrays made from it."""

    rnnfast_device = "emulated"

    def __array_finalize__(self, source: Any) -> None:
        device = getattr(source, "rnnfast_device", None)
        if device is not None:
            self.rnnfast_device = device


class EmulatedEngine(Engine):
    """An engine whose kernels the CPU runs, thread by thread, in the calling thread."""

    fill = 0xFF  # each byte of fresh memory: NaN, as a device's fresh memory may hold anything

    def asarray(self, value: Any) -> EmulatedArray:
        if isinstance(value, EmulatedArray) and value.rnnfast_device == self.name:
            return value
        array = np.asarray(value).view(EmulatedArray)
        array.rnnfast_device = self.name
        return array

    def on_host(self, value: Any) -> NDArray[Any]:
        return np.asarray(value)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> EmulatedArray:
        array = np.empty(shape, dtype)
        array.view(np.uint8).fill(self.fill)
        return self.asarray(array)

    def pointer(self, array: Any) -> int:
        return int(array.ctypes.data)

    def stream(self) -> int:
        return 0

    def compiled(self, kernels: Kernels) -> list[int]:
        return compile_with_gcc(self.name, kernels)


def unavailable_reason(device: str) -> str | None:
    """Return why a CUDA or emulated device cannot be used here, or None if it can."""
    if device not in MODULES:
        return cuda.unavailable_reason()
    if _path(device):
        return None
    return (
        "the emulator's build is missing: build with RNNFAST_EMULATOR=ON, and set "
        f"{MODULES[device]} to the path of _{device}.so"
    )


@cache
def _engine(device: str) -> EmulatedEngine:
    reason = unavailable_reason(device)
    if reason is not None:
        raise backends.DeviceError(f"device {device!r}: {reason}")
    return EmulatedEngine(device, _load(Path(_path(device))))


def _path(device: str) -> str:
    return os.environ.get(MODULES[device], "")


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"rnnfast.{path.name.split('.')[0]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


for _device in MODULES:
    backends.register(_device, partial(_engine, _device))
