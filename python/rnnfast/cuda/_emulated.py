"""Arrays of the emulated devices of the tests: NumPy's, marked with their device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnnfast.cuda._engine import Engine
from rnnfast.cuda._kernels import Kernels

Compiler: TypeAlias = "Callable[[str, Kernels], list[int]]"
"""Takes the name of the device and gives the addresses of functions."""


class EmulatedArray(np.ndarray[Any, np.dtype[Any]]):
    """An array that counts as lying on an emulated device; so do those made of it."""

    rnnfast_device = "emulated"

    def __array_finalize__(self, source: Any) -> None:
        device = getattr(source, "rnnfast_device", None)
        if device is not None:
            self.rnnfast_device = device


class EmulatedEngine(Engine):
    """The kernels run by the CPU, thread by thread, in the calling thread."""

    compiler: Compiler | None = None  # of tests/cuda_emulator/first_use.py
    fill = 0xFF  # of each byte of fresh memory: NaN, as what a device hands out may be anything

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
        assert self.compiler is not None, "tests/cuda_emulator/first_use.py sets it"
        return self.compiler(self.name, kernels)
