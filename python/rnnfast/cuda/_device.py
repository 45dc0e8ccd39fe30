"""A device: its arrays and their addresses, and the cells and kernels that its module has."""

from __future__ import annotations

from abc import abstractmethod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from rnnfast._engine.backend import Array, Backend
from rnnfast.cuda._devices import Properties
from rnnfast.cuda._kernels import Kernels, Unit, definition, kernels, traced_cell

# PyTorch's names for what may multiply where arrays are float32.
MATMUL_PRECISIONS = {"highest": "full", "high": "bfloat16x3", "medium": "bfloat16"}

_ALIGNMENT = 16  # bytes: kernels read four values at once


class Device(Backend):
    """A compiled module, `_cuda` or one of the same sources, and arrays of its device.

    What is done goes to the caller's stream, and nothing waits for it.
    """

    dtypes = (np.dtype("float32"),)
    recomputes = False
    projects = False
    draws_noise = False

    def __init__(self, name: str, extension: ModuleType) -> None:
        self.name = name
        self.extension: Any = extension
        # The only kernel that networks may run, for tests and measuring; None for any.
        self.kernel: str | None = None
        self.matmul_precision = "highest"  # see set_float32_matmul_precision

    def products(self, precision: str) -> str:
        """What recurrent products multiply at a layer's precision."""
        return precision if precision != "full" else MATMUL_PRECISIONS[self.matmul_precision]

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array with any values."""

    @abstractmethod
    def stream(self) -> int:
        """The caller's stream."""

    def properties(self) -> Properties:
        """What the device has."""
        return self.extension.device_properties()  # type: ignore[no-any-return]

    def contiguous(self, array: Array) -> Array:
        if array.flags.c_contiguous and self.pointer(array) % _ALIGNMENT == 0:
            return array
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def floats(self, *shape: int) -> Array:
        """A new array of float32 with any values."""
        return self.empty(shape, np.float32)

    def zeros(self, *shape: int) -> Array:
        """The same of zeros."""
        array = self.floats(*shape)
        array.fill(0)
        return array

    def scratch(self, size: int) -> Array:
        """Bytes that the kernels use during a call."""
        return self.empty((size,), np.uint8)

    def address(self, array: Array | None) -> int:
        """The address of an array, 0 for none."""
        return 0 if array is None else self.pointer(array)

    def check_cell(self, name: str) -> None:
        self.cell(name)

    def cell(self, name: str) -> int:
        """The extension's number of a cell, which it may learn of now.

        Raises:
            CellError: The cell cannot run here.
        """
        number = int(self.extension.find_cell(name))
        if number >= 0:
            return number
        cell = traced_cell(name)
        assert cell is not None, f"the module has no cell {name!r}"
        from rnnfast.traced.header import header

        header(cell)  # raises, if it has none
        return int(self.extension.define_cell(name, **definition(cell)))

    def prepare(self, call: Any, cell: str, *, backward: bool) -> None:
        """Compiles and loads the kernels that a pass of a call needs, if they are not there."""
        missing = call.missing(backward=backward)
        if missing is None:
            return
        kernel, paired = missing
        unit = Unit(self.cell(cell), kernel, backward, paired)
        functions = self.compiled(kernels(self.extension, unit, traced_cell(cell)))
        self.extension.load(**unit._asdict(), functions=functions)

    @abstractmethod
    def compiled(self, kernels: Kernels) -> list[int]:
        """The addresses of kernels' functions, which stay valid."""
