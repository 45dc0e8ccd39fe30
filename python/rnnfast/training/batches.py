"""A text as contiguous streams for truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.data.buckets import IGNORED as IGNORED
from rnnfast.data.text_file import StreamBatch
from rnnfast.training.text import TextError


class Streams:
    """`batch` contiguous streams of a text, cut into chunks of `seq_len` characters.

    Stream b is the b-th part of the text; chunk k of a stream follows its chunk k - 1, so the
    recurrent state can be carried from one to the next. The characters left over at the end of
    each stream (fewer than seq_len) are not used.

    Attributes:
        chunks: Number of chunks in an epoch.
        position: Number of chunks returned so far, over all epochs; set it to resume.
    """

    def __init__(self, ids: NDArray[np.int64], batch: int, seq_len: int) -> None:
        """Cut the text `ids` (N,) into streams.

        Raises:
            TextError: The text is too short for one sequence in each stream.
        """
        checks.positive_int("batch", batch)
        checks.positive_int("seq_len", seq_len)
        length = (ids.size - 1) // batch
        self.chunks = length // seq_len
        if not self.chunks:
            raise TextError(
                f"text: expected at least batch * seq_len + 1 = {batch} * {seq_len} + 1 = "
                f"{batch * seq_len + 1} characters, a sequence for each stream, got {ids.size}; "
                "use a longer text, or a smaller batch or seq_len"
            )
        self.position = 0
        self._seq_len = seq_len
        # Row t holds character t of every stream, so that chunks are contiguous views.
        windows = np.lib.stride_tricks.sliding_window_view(ids, length + 1)
        self._rows = np.array(windows[: batch * length : length].T, order="C")

    def __len__(self) -> int:
        return self.chunks

    def __iter__(self) -> Iterator[StreamBatch]:
        """Yield the chunks from the current one to the last of the epoch."""
        for _ in range(self.position % self.chunks, self.chunks):
            yield self.next()

    def state_dict(self) -> dict[str, int]:
        """Return the state that a resumed run needs to continue with the next chunk."""
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore what `state_dict` returned."""
        self.position = checks.count("position", state["position"])

    def next(self) -> StreamBatch:
        """Return the next chunk, starting over after the last one of an epoch."""
        index = self.position % self.chunks
        self.position += 1
        return self.chunk(index)

    def chunk(self, index: int) -> StreamBatch:
        """Return a chunk of an epoch by its number in [0, chunks)."""
        start, end = index * self._seq_len, (index + 1) * self._seq_len
        return StreamBatch(self._rows[start:end], self._rows[start + 1 : end + 1], index == 0)


def cover(ids: NDArray[np.int64], batch: int, seq_len: int) -> Iterator[StreamBatch]:
    """Cut a text (N,) into streams that predict every character but the first exactly once.

    Evaluation uses these streams because they leave nothing out. Streams and chunks shrink to fit
    short texts, and a stream that is shorter than the others is padded with `IGNORED` targets.
    """
    predictions = ids.size - 1
    length = -(-predictions // batch)
    batch = -(-predictions // length)
    x = np.zeros(batch * length, dtype=np.int64)
    targets = np.full(batch * length, IGNORED, dtype=np.int64)
    x[:predictions], targets[:predictions] = ids[:-1], ids[1:]
    x_rows = np.ascontiguousarray(x.reshape(batch, length).T)
    target_rows = np.ascontiguousarray(targets.reshape(batch, length).T)
    for start in range(0, length, seq_len):
        end = start + seq_len
        yield StreamBatch(x_rows[start:end], target_rows[start:end], start == 0)
