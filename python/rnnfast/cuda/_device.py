"""A device: its arrays and their addresses, and the cells and kernels of its module."""

from __future__ import annotations

from abc import abstractmethod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from rnnfast._engine.backends import Array, Backend
from rnnfast.cuda._devices import Properties
from rnnfast.cuda._kernels import Kernels, Unit, definition, kernels, traced_cell

# The precision of products by PyTorch's names for the settings of float32 arrays.
MATMUL_PRECISIONS = {"highest": "full", "high": "bfloat16x3", "medium": "bfloat16"}

_ALIGNMENT = 16  # bytes: kernels read four values at once


class Device(Backend):
    """A compiled module, `_cuda` or another build of its sources, and the arrays of its device.

    Work is queued on the caller's stream without waiting for it.
    """

    dtypes = (np.dtype("float32"),)
    recomputes = False
    projects = False
    draws_noise = False
    resets = False
    contexts = False
    quantizes = False

    def __init__(self, name: str, extension: ModuleType) -> None:
        self.name = name
        self.extension: Any = extension
        # The only kernel that networks may use, for tests and benchmarks; None for any kernel.
        self.kernel: str | None = None
        self.matmul_precision = "highest"  # see set_float32_matmul_precision

    def products(self, precision: str) -> str:
        """Return the precision of recurrent products for the precision of a layer."""
        return precision if precision != "full" else MATMUL_PRECISIONS[self.matmul_precision]

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return a new, uninitialised array."""

    @abstractmethod
    def stream(self) -> int:
        """Return the caller's stream."""

    def properties(self) -> Properties:
        """Return the properties of the device."""
        return self.extension.device_properties()  # type: ignore[no-any-return]

    def contiguous(self, array: Array) -> Array:
        if array.flags.c_contiguous and self.pointer(array) % _ALIGNMENT == 0:
            return array
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def floats(self, *shape: int) -> Array:
        """Return a new, uninitialised float32 array."""
        return self.empty(shape, np.float32)

    def zeros(self, *shape: int) -> Array:
        """Return a new float32 array of zeros."""
        array = self.floats(*shape)
        array.fill(0)
        return array

    def scratch(self, size: int) -> Array:
        """Return scratch memory of `size` bytes for the kernels of a call."""
        return self.empty((size,), np.uint8)

    def address(self, array: Array | None) -> int:
        """Return the address of an array, or 0 for None."""
        return 0 if array is None else self.pointer(array)

    def check_cell(self, name: str) -> None:
        self.cell(name)

    def cell(self, name: str) -> int:
        """Return the number of a cell in the extension, and define the cell there if it is new.

        Raises:
            CellError: The cell cannot run on this device.
        """
        number = int(self.extension.find_cell(name))
        if number >= 0:
            return number
        cell = traced_cell(name)
        assert cell is not None, f"the module has no cell {name!r}"
        from rnnfast.traced.header import header

        header(cell)  # raises a CellError if the cell is not supported
        return int(self.extension.define_cell(name, **definition(cell)))

    def prepare(self, call: Any, cell: str, *, backward: bool) -> None:
        """Compile and load the kernels that a pass of a call needs, if they are missing."""
        missing = call.missing(backward=backward)
        if missing is None:
            return
        kernel, paired = missing
        unit = Unit(self.cell(cell), kernel, backward, paired)
        functions = self.compiled(kernels(self.extension, unit, traced_cell(cell)))
        self.extension.load(**unit._asdict(), functions=functions)

    @abstractmethod
    def compiled(self, kernels: Kernels) -> list[int]:
        """Compile kernels and return the addresses of their functions, which stay valid."""
