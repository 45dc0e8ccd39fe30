"""Many documents as streams for truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import backends, checks
from rnnfast.data.buckets import IGNORED
from rnnfast.data.passes import Passes


class DocumentBatch(NamedTuple):
    """One piece of each stream; a piece never contains parts of two documents.

    Attributes:
        x: Ids (T, B), padded with 0.
        targets: The ids that follow (T, B), padded with -100.
        lengths: Steps of each stream (B,); 0 if the stream has ended.
        starts: Whether the piece starts a document (B,), so that the stream's state must be zero.
    """

    x: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    starts: NDArray[np.bool_]


class DocumentStreams(Passes[DocumentBatch]):
    """Documents in `batch` streams of about equal length, cut into pieces of `seq_len` steps.

    A stream reads its documents one after the other. Each document begins a new piece, and all of
    its ids but the first are predicted once in each pass. A stream has the same documents in every
    pass, but reads them in a new order with `shuffle`.
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
        """Distribute the documents over the streams.

        Args:
            documents: Arrays of ids (N_i,); those of fewer than 2 ids are left out, as
                they have nothing to predict.
            batch: Number of streams B, at most that of documents.
            seq_len: Number of steps T in a piece.
            shuffle: Whether each pass draws a new order.
            seed: Seed of the orders.

        Raises:
            ValueError: There are fewer documents than streams, or a document is not 1-D.
            TypeError: A document does not hold integers, or an argument is of the wrong type.
        """
        super().__init__(shuffle, seed)
        batch = checks.positive_int("batch", batch)
        self._seq_len = checks.positive_int("seq_len", seq_len)
        checks.of_type("documents", documents, Sized)
        self._documents = documents
        pieces = np.array([self._pieces(i) for i in range(len(documents))], dtype=np.int64)
        if np.count_nonzero(pieces) < batch:
            raise ValueError(
                f"documents: expected at least {batch} of 2 or more ids, one per stream, got "
                f"{np.count_nonzero(pieces)}"
            )
        self._pieces_of, self._streams = pieces, _shared(pieces, batch)
        self._length = max(int(pieces[stream].sum()) for stream in self._streams)

    def _pieces(self, i: int) -> int:
        document = backends.array_of(f"documents[{i}]", self._documents[i])
        if document.ndim != 1:
            raise ValueError(f"documents[{i}]: expected shape (N,), got {document.shape}")
        if document.dtype.kind not in "iu":
            raise TypeError(f"documents[{i}]: expected integers, got {document.dtype}")
        return max(0, -(-(len(document) - 1) // self._seq_len))

    def __len__(self) -> int:
        return self._length

    def _order(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return the documents of each stream, and the number of pieces up to the end of each."""
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
                continue  # the stream has ended
            piece = index - (int(ends[place - 1]) if place else 0)
            first = piece * self._seq_len
            ids = np.asarray(self._documents[documents[place]])[first : first + self._seq_len + 1]
            lengths[b], starts[b] = len(ids) - 1, piece == 0
            x[: lengths[b], b], targets[: lengths[b], b] = ids[:-1], ids[1:]
        return DocumentBatch(x, targets, lengths, starts)


def reset_state(state: Any, starts: NDArray[np.bool_]) -> Any:
    """Set the state to zero where documents start.

    Args:
        state: State of a recurrent layer: an array (layers, B, H), a tuple of these, or None.
        starts: Booleans (B,) that say which sequences start a document.

    Returns:
        A new state of the same form, with zeros in the sequences that start.
    """
    if state is None or not starts.any():
        return state
    if isinstance(state, tuple):
        return tuple(reset_state(one, starts) for one in state)
    kept = state.copy()
    kept[:, starts.nonzero()[0].tolist()] = 0  # every device accepts a list as an index
    return kept


def _shared(pieces: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Assign the documents, longest first, each to the stream that has the fewest pieces."""
    streams: list[list[int]] = [[] for _ in range(batch)]
    sizes = np.zeros(batch, np.int64)
    for i in np.argsort(-pieces, kind="stable"):
        if pieces[i]:
            least = int(sizes.argmin())
            streams[least].append(int(i))
            sizes[least] += pieces[i]
    return [np.array(sorted(stream)) for stream in streams]
