"""Text files of any size, read piece by piece instead of loaded as a whole."""

from __future__ import annotations

import os
import weakref
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast import _files
from rnnfast._engine import checks
from rnnfast._files import AnyPath
from rnnfast.data.passes import Passes


class TextFile:
    """The bytes of a file that stays on disk; `text[i:j]` reads a part as an array of uint8.

    Parts are read at their offset and not memory-mapped, because mapped pages would count as memory
    of the process until the kernel reclaims them.

    Attributes:
        path: The path of the file.
    """

    def __init__(self, path: AnyPath) -> None:
        """Open a file.

        Raises:
            ValueError: The file is empty.
            OSError: The file cannot be read, or is not a regular file.
        """
        self.path = path
        with _files.open_to_read(path) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._size = os.fstat(self._descriptor).st_size
        if not self._size:
            raise ValueError(f"{path}: expected at least one byte, got an empty file")

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        start, stop, step = part.indices(self._size)
        read = np.empty(max(0, stop - start), np.uint8)
        self.read_into(read, start)
        return read[::step]

    def read_into(self, array: NDArray[np.uint8], start: int) -> None:
        """Fill an array (N,) with the bytes from `start` on.

        Raises:
            OSError: The file cannot be read, or ends early because it was truncated.
        """
        done = 0
        while done < array.size:
            count = os.preadv(self._descriptor, [array[done:].data], start + done)
            if not count:
                raise OSError(
                    f"{self.path}: expected {self._size} bytes, as when it was opened, but it "
                    f"ends after {start + done}"
                )
            done += count

    def streams(self, batch: int, seq_len: int, *, end: int | None = None) -> FileStreams:
        """Read the bytes as `batch` contiguous streams, in pieces of `seq_len` bytes.

        Args:
            batch: Number of streams B.
            seq_len: Number of bytes T in a piece.
            end: End of the part of the file to read; None for the whole file. The rest can be kept
                for validation.

        Raises:
            ValueError: The file is too short for one piece of each stream, or a number is out of
                range.
            TypeError: An argument is not an integer.
        """
        return FileStreams(self, batch, seq_len, end)


class StreamBatch(NamedTuple):
    """One piece of each stream.

    Attributes:
        x: Ids of characters, bytes or tokens (T, B).
        targets: The ids that follow (T, B).
        starts: Whether the streams begin with this piece, so that the state must be zero.
    """

    x: NDArray[np.int64]
    targets: NDArray[np.int64]
    starts: bool


class FileStreams(Passes[StreamBatch]):
    """Contiguous streams of a file, as returned by `TextFile.streams`.

    Stream b is the b-th part of the text, and each piece follows the one before, so that the
    recurrent state can be carried over. The bytes left over at the end of each stream, fewer than
    `seq_len`, are not used.
    """

    def __init__(self, text: TextFile, batch: int, seq_len: int, end: int | None) -> None:
        super().__init__(shuffle=False, seed=0)
        self._streams = checks.positive_int("batch", batch)
        self._seq_len = checks.positive_int("seq_len", seq_len)
        size = len(text) if end is None else checks.integer("end", end, 1, len(text))
        self._length = (size - 1) // batch
        if self._length < seq_len:
            raise ValueError(
                f"text: expected at least batch * seq_len + 1 = {batch * seq_len + 1} bytes, got "
                f"{size}"
            )
        self._text = text

    def __len__(self) -> int:
        return self._length // self._seq_len

    def _order(self) -> None:
        return None

    def _batch(self, order: None, index: int) -> StreamBatch:
        del order
        read = np.empty((self._streams, self._seq_len + 1), np.uint8)
        for b, row in enumerate(read):
            self._text.read_into(row, b * self._length + index * self._seq_len)
        ids = np.ascontiguousarray(read.T, dtype=np.int64)
        return StreamBatch(ids[:-1], ids[1:], index == 0)
