"""The library's functions on a device: arrays are made here, and addresses handed to the kernels.

Arguments have been checked. Everything goes to the caller's stream, and nothing waits for it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from rnnfast._backend import Backend
from rnnfast.cuda._devices import Properties
from rnnfast.cuda._network import DevicePacked, DeviceReserve, Network

_ALIGNMENT = 16  # bytes: kernels read four values at once

Array = Any  # CuPy's, or the emulator's


class Engine(Backend):
    """A compiled module, `_cuda` or one for the emulator, over arrays of its device."""

    dtypes = (np.dtype("float32"),)
    recomputes = False

    def __init__(self, name: str, extension: ModuleType) -> None:
        self.name = name
        self.extension: Any = extension

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array with any values."""

    @abstractmethod
    def pointer(self, array: Array) -> int:
        """The address of an array on the device."""

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

    # ---- recurrent networks: `rnnfast.functional`

    def pack(
        self,
        cell: str,
        weights: Sequence[Any],
        num_layers: int,
        bidirectional: bool,
        precision: str,
    ) -> DevicePacked:
        """Copies of the weights."""
        copies = [type(w)(*(a if a is None else a.copy() for a in w)) for w in weights]
        return DevicePacked(self, cell, copies, num_layers, bool(bidirectional), precision)

    def forward(
        self,
        cell: str,
        x: Array,
        weights: Sequence[Any] | DevicePacked,
        state: Sequence[Array | None] | None,
        lengths: Array | None,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        seed: int,
        training: bool,
        precision: str,
        recompute: int,
    ) -> tuple[Array, tuple[Array, ...], DeviceReserve | None]:
        """y, the final states and, if training, what `backward` needs."""
        del recompute  # no device recomputes, which has been checked
        network = Network(
            self,
            cell,
            x,
            weights.weights if isinstance(weights, DevicePacked) else weights,
            state,
            lengths,
            num_layers,
            bool(bidirectional),
            dropout if training and num_layers > 1 else 0.0,
            seed,
            bool(training),
            precision,
        )
        return network.forward()

    def backward(
        self,
        reserve: DeviceReserve,
        dy: Array | None,
        dstate: Sequence[Array | None] | None,
        need_dx: bool,
        dweights: Sequence[Any] | None,
    ) -> tuple[Array | None, tuple[Array, ...], list[Any] | None]:
        """dx, the gradients of the initial states and those of the weights, if new."""
        return reserve.network.backward(reserve.memory, dy, dstate, need_dx, dweights)

    @cached_property
    def cell_ids(self) -> dict[str, int]:
        """Places in the registry by name."""
        from rnnfast.functional import cells

        return {name: i for i, name in enumerate(cells())}
