"""Where traced values go: arrays in memory, or one .npy file for each layer and value."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnfast import _core
from rnnfast._files import AnyPath
from rnnfast.inspection.states import LayerStates, States

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]


class InMemory:
    """An array that is written a block of steps at a time."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._array: Array = _core.empty(shape, dtype == np.float64)

    def block(self, first: int, last: int) -> Array:
        """Return the steps [first, last), to write into."""
        return self._array[first:last]

    def write(self, first: int, block: Array) -> None:
        """Write steps, the first of which is number `first`."""
        self._array[first : first + len(block)] = block

    def finish(self) -> Array:
        """Return the array."""
        return self._array

    def discard(self) -> None:
        """Leave the array to whoever has it."""


class OnDisk:
    """A .npy file that is written a block of steps at a time.

    It is written as a file, not through a map: pages of a map would count as memory of the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        empty = np.lib.format.open_memmap(path, "w+", dtype, shape)
        self._start = path.stat().st_size - empty.nbytes
        self._bytes_per_step = empty.nbytes // max(1, shape[0])
        del empty
        self._file = path.open("r+b", buffering=0)

    def write(self, first: int, block: Array) -> None:
        """Write steps, the first of which is number `first`."""
        self._file.seek(self._start + first * self._bytes_per_step)
        left = memoryview(block.tobytes())
        while left:
            left = left[self._file.write(left) :]

    def finish(self) -> Array:
        """Close the file, and return a read-only map of it."""
        self._file.close()
        mapped: Array = np.load(self.path, mmap_mode="r")
        return mapped

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


Target = InMemory | OnDisk


class Store:
    """The arrays of a trace. An error inside its `with` block removes the files that it began.

    Args:
        folder: Where to write files, new or without .npy files; None for arrays in memory.

    Raises:
        ValueError: The folder has .npy files already.
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: AnyPath | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._layers: dict[str, dict[str, Target]] = {}
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            there = sorted(path.name for path in self._folder.glob("*.npy"))
            if there:
                raise ValueError(
                    f"to: expected a folder without .npy files, got {os.fspath(self._folder)}, "
                    f"which has {there[0]}" + (" and others" if there[1:] else "")
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            for targets in self._layers.values():
                for target in targets.values():
                    target.discard()

    def target(
        self, layer: str, value: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Target:
        """Return a new place for a value of a layer."""
        target = (
            InMemory(shape, dtype)
            if self._folder is None
            else OnDisk(self._folder / f"{layer}.{value}.npy", shape, dtype)
        )
        self._layers.setdefault(layer, {})[value] = target
        return target

    def scratch(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array for what the next layer reads, in a file without a name if on disk."""
        if self._folder is None or not all(shape):
            return np.empty(shape, dtype)
        import tempfile

        with tempfile.TemporaryFile(dir=self._folder) as file:
            return np.memmap(file, dtype, "w+", shape=shape)

    def finish(self) -> States:
        """Return what was written."""
        return States(
            {
                layer: LayerStates({value: t.finish() for value, t in targets.items()})
                for layer, targets in self._layers.items()
            }
        )
