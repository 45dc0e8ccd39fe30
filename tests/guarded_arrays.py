"""Arrays inside larger ones, whose words around them show what a call wrote out of bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

WORD = np.uint32(0x7FF7A5C3)  # a NaN as float32 and, twice, as float64; out of range as an index
WORDS = 64  # on each side, more than any kernel reads or writes at a time


class Places:
    """Where a call has its arrays: copies of the ones given."""

    def input(self, array: np.ndarray) -> np.ndarray:
        """Return a copy of an array that the call must not change."""
        return array.copy()

    def output(self, array: np.ndarray) -> np.ndarray:
        """Return a copy of an array that the call may change."""
        return array.copy()

    def states(self, array: np.ndarray) -> np.ndarray:
        """Return a copy of the states of a stream, which each of its steps changes."""
        return self.output(array)

    def check(self) -> None:
        """Raise an `AssertionError` if a call wrote what it must not."""


class Guarded(Places):
    """Places between guard words, at addresses that are aligned for one element and no more."""

    def __init__(self) -> None:
        self._buffers: list[tuple[np.ndarray, int, int]] = []
        self._inputs: list[tuple[np.ndarray, bytes]] = []

    def input(self, array: np.ndarray) -> np.ndarray:
        place = self.output(array)
        self._inputs.append((place, array.tobytes()))
        return place

    def output(self, array: np.ndarray) -> np.ndarray:
        before, words = 2 * WORDS, -(-array.nbytes // 4)
        buffer = np.full(before + words + WORDS, WORD)
        address = buffer.__array_interface__["data"][0] + 4 * before
        before -= (address - array.itemsize) % 64 // 4
        begin, end = 4 * before, 4 * before + array.nbytes
        self._buffers.append((buffer, begin, end))
        place = buffer.view(np.uint8)[begin:end].view(array.dtype).reshape(array.shape)
        place[...] = array
        return place

    def check(self) -> None:
        for buffer, begin, end in self._buffers:
            kept, whole = buffer.tobytes(), np.full_like(buffer, WORD).tobytes()
            assert kept[:begin] == whole[:begin], "words before an array were changed"
            assert kept[end:] == whole[end:], "words after an array were changed"
        for place, before in self._inputs:
            assert place.tobytes() == before, "an input was changed"


def flat(results: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in results."""
    if isinstance(results, np.ndarray):
        yield results
    elif isinstance(results, Sequence):
        for one in results:
            yield from flat(one)


def digest_of(call: Callable[[Places], Any], places: Places) -> str:
    """Return a digest of the results of a call, after checking them and the places."""
    digest = hashlib.sha256()
    for array in flat(call(places)):
        assert not np.isnan(array).any(), "a result was not written or depends on other memory"
        digest.update(array.tobytes())
    places.check()
    return digest.hexdigest()
