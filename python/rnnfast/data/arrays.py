"""Batches of arrays with one item per row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import backends, checks
from rnnfast.data.passes import Passes


class ArrayBatches(Passes[tuple[NDArray[Any], ...]]):
    """Batches of the same items of several arrays, as returned by `batches`."""

    def __init__(
        self,
        arrays: tuple[ArrayLike, ...],
        batch_size: int,
        axis: int,
        shuffle: bool,
        seed: int,
        drop_last: bool,
    ) -> None:
        super().__init__(shuffle, seed)
        self._arrays = [backends.array_of(f"arrays[{i}]", array) for i, array in enumerate(arrays)]
        self._size = checks.positive_int("batch_size", batch_size)
        self._axis = checks.count("axis", axis)
        if not arrays:
            raise ValueError("arrays: expected at least one, got none")
        for i, array in enumerate(self._arrays):
            if array.ndim <= axis:
                raise ValueError(
                    f"arrays[{i}]: expected an array with axis {axis}, got shape {array.shape}"
                )
        self._items = int(self._arrays[0].shape[axis])
        for i, array in enumerate(self._arrays):
            if array.shape[axis] != self._items:
                raise ValueError(
                    f"arrays[{i}]: expected {self._items} items along axis {axis}, as in "
                    f"arrays[0], got {array.shape[axis]}"
                )
        whole = checks.boolean("drop_last", drop_last)
        self._batches: int = self._items // self._size if whole else -(-self._items // self._size)
        if not self._batches:
            least = self._size if whole else 1
            raise ValueError(f"arrays: expected at least {least} items, got {self._items}")

    def __len__(self) -> int:
        return self._batches

    def _order(self) -> NDArray[np.int64] | None:
        return self._generator().permutation(self._items) if self._shuffle else None

    def _batch(self, order: NDArray[np.int64] | None, index: int) -> tuple[NDArray[Any], ...]:
        part: Any = slice(index * self._size, (index + 1) * self._size)
        if order is not None:
            part = order[part]
        place = (slice(None),) * self._axis + (part,)
        return tuple(np.ascontiguousarray(array[place]) for array in self._arrays)


def batches(
    *arrays: ArrayLike,
    batch_size: int,
    axis: int = 0,
    shuffle: bool = True,
    seed: int = 0,
    drop_last: bool = False,
) -> ArrayBatches:
    """Cut arrays into batches of the same items.

    Args:
        arrays: Arrays of one size along `axis`; views, such as those of `windows`, stay views, and
            only the current batch is copied.
        batch_size: Number of items in a batch.
        axis: The axis of the items, such as 1 for time-major arrays (T, B, ...).
        shuffle: Whether each pass draws a new order.
        seed: Seed of the orders.
        drop_last: Whether a pass leaves out the last items if they do not fill a batch.

    Returns:
        Batches, each a tuple of arrays in C order.

    Raises:
        ValueError: The sizes differ, or the arrays have no items.
        TypeError: An argument is of the wrong type.
    """
    return ArrayBatches(arrays, batch_size, axis, shuffle, seed, drop_last)
