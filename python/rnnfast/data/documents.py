"""Many documents as streams for truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import checks
from rnnfast.data.buckets import IGNORED
from rnnfast.data.passes import Passes


class DocumentBatch(NamedTuple):
    """A piece of all streams; no piece has the end of one document and the start of the next.

    Attributes:
        x: Ids (T, B), 0 after a stream's length.
        targets: Ids that follow (T, B), -100 after a stream's length.
        lengths: Steps of each stream (B,); 0 of one that is at its end.
        starts: Whether a document starts in the stream (B,), so that its state must be zero.
    """

    x: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    starts: NDArray[np.bool_]


class DocumentStreams(Passes[DocumentBatch]):
    """Documents in `batch` streams of about equal length, cut into pieces of `seq_len` steps.

    A stream has its documents one after the other; each begins a piece of its own, and all of its
    ids but the first are predicted once a pass. A stream keeps its documents from pass to pass,
    and with `shuffle` reads them in a new order.
    """

    def __init__(
        self,
        documents: Sequence[ArrayLike],
        batch: int,
        seq_len: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        """Share the documents out.

        Args:
            documents: Arrays of ids (N_i,); those of fewer than 2 ids have nothing to predict, and
                are left out.
            batch: Streams B, of which there are no more than documents.
            seq_len: Steps T of a piece.
            shuffle: Whether each pass draws a new order.
            seed: Seeds the orders.

        Raises:
            ValueError: There are fewer documents than streams, or one is not of one axis.
            TypeError: A document is not of integers, or an argument is of the wrong type.
        """
        super().__init__(shuffle, seed)
        batch = checks.positive_int("batch", batch)
        self._seq_len = checks.positive_int("seq_len", seq_len)
        self._documents = documents
        pieces = np.array([self._pieces(i) for i in range(len(documents))], dtype=np.int64)
        if np.count_nonzero(pieces) < batch:
            raise ValueError(
                f"documents: expected at least {batch} of 2 ids or more, one a stream, got "
                f"{np.count_nonzero(pieces)}"
            )
        self._pieces_of, self._streams = pieces, _shared(pieces, batch)
        self._length = max(int(pieces[stream].sum()) for stream in self._streams)

    def _pieces(self, i: int) -> int:
        document = np.asarray(self._documents[i])
        if document.ndim != 1:
            raise ValueError(f"documents[{i}]: expected shape (N,), got {document.shape}")
        if document.dtype.kind not in "iu":
            raise TypeError(f"documents[{i}]: expected integers, got {document.dtype}")
        return max(0, -(-(len(document) - 1) // self._seq_len))

    def __len__(self) -> int:
        return self._length

    def _order(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Of each stream its documents, and the numbers of pieces up to the end of each."""
        generator = self._generator()
        orders = [
            generator.permutation(stream) if self._shuffle else stream for stream in self._streams
        ]
        return [(order, np.cumsum(self._pieces_of[order])) for order in orders]

    def _batch(
        self, order: list[tuple[NDArray[np.int64], NDArray[np.int64]]], index: int
    ) -> DocumentBatch:
        shape = (self._seq_len, len(order))
        x, targets = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
        lengths, starts = np.zeros(len(order), np.int64), np.zeros(len(order), np.bool_)
        for b, (documents, ends) in enumerate(order):
            place = int(np.searchsorted(ends, index, side="right"))
            if place == len(ends):
                continue  # the stream is at its end
            piece = index - (int(ends[place - 1]) if place else 0)
            first = piece * self._seq_len
            ids = np.asarray(self._documents[documents[place]])[first : first + self._seq_len + 1]
            lengths[b], starts[b] = len(ids) - 1, piece == 0
            x[: lengths[b], b], targets[: lengths[b], b] = ids[:-1], ids[1:]
        return DocumentBatch(x, targets, lengths, starts)


def reset_state(state: Any, starts: NDArray[np.bool_]) -> Any:
    """Set the state to zero where documents start.

    Args:
        state: Of a recurrent layer: an array (layers, B, H), a tuple of such, or None.
        starts: (B,) booleans.

    Returns:
        A new state of the same form, with zeros in the sequences that start.
    """
    if state is None or not starts.any():
        return state
    if isinstance(state, tuple):
        return tuple(reset_state(one, starts) for one in state)
    kept = state.copy()
    kept[:, starts.nonzero()[0].tolist()] = 0  # a list is an index on every device
    return kept


def _shared(pieces: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Documents a stream: each, the longest first, goes to the stream that has the least."""
    streams: list[list[int]] = [[] for _ in range(batch)]
    sizes = np.zeros(batch, np.int64)
    for i in np.argsort(-pieces, kind="stable"):
        if pieces[i]:
            least = int(sizes.argmin())
            streams[least].append(int(i))
            sizes[least] += pieces[i]
    return [np.array(sorted(stream)) for stream in streams]
