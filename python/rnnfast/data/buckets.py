"""Sequences of unequal length in batches of about equal length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import backends, checks
from rnnfast.data.passes import Passes

IGNORED = -100  # target of steps that do not count, the default of the losses


class PaddedBatch(NamedTuple):
    """Sequences side by side, with padding after the shorter ones.

    Attributes:
        x: The sequences (T, B, ...).
        lengths: Their lengths (B,).
        targets: Targets of the steps (T, B, ...) or of the sequences (B, ...), or None.
        indices: Their places in the list of all sequences (B,).
    """

    x: NDArray[Any]
    lengths: NDArray[np.int64]
    targets: NDArray[Any] | None
    indices: NDArray[np.int64]


class BucketBatches(Passes[PaddedBatch]):
    """Padded batches of sequences of about equal length, as returned by `bucket_batches`."""

    def __init__(
        self,
        sequences: Sequence[ArrayLike],
        batch_size: int,
        targets: Sequence[ArrayLike] | None,
        bucket: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        super().__init__(shuffle, seed)
        self._size = checks.positive_int("batch_size", batch_size)
        self._bucket = checks.positive_int("bucket", bucket)
        self._sequences = _arrays("sequences", sequences)
        _check_like("sequences", self._sequences)
        self._lengths = np.array([len(s) for s in self._sequences])
        self._targets = None if targets is None else _arrays("targets", targets)
        self._of_steps = False
        if self._targets is not None:
            self._check_targets(self._targets)

    def _check_targets(self, targets: list[NDArray[Any]]) -> None:
        if len(targets) != len(self._sequences):
            raise ValueError(
                f"targets: expected {len(self._sequences)}, one per sequence, got {len(targets)}"
            )
        shapes = list(dict.fromkeys(target.shape for target in targets))
        self._of_steps = all(
            t.shape[:1] == (n,) for t, n in zip(targets, self._lengths, strict=True)
        )
        if self._of_steps:
            _check_like("targets", targets)
        elif len(shapes) > 1:
            raise ValueError(
                "targets: expected one value per step of the sequence, or the same shape for all, "
                f"got shapes {shapes[0]} and {shapes[1]}"
            )

    def __len__(self) -> int:
        return -(-len(self._sequences) // self._size)

    def _order(self) -> list[NDArray[np.int64]]:
        """Return the indices of each batch."""
        count = len(self._sequences)
        if not self._shuffle:
            by_length = np.argsort(self._lengths, kind="stable")
            return np.split(by_length, range(self._size, count, self._size))
        generator = self._generator()
        drawn = generator.permutation(count)
        pool = self._size * self._bucket
        parts = [drawn[i : i + pool] for i in range(0, count, pool)]
        by_length = np.concatenate(
            [part[np.argsort(self._lengths[part], kind="stable")] for part in parts]
        )
        cut = np.split(by_length, range(self._size, count, self._size))
        return [cut[i] for i in generator.permutation(len(cut))]

    def _batch(self, order: list[NDArray[np.int64]], index: int) -> PaddedBatch:
        indices = order[index]
        lengths = self._lengths[indices]
        x = _padded([self._sequences[i] for i in indices], 0)
        targets = None
        if self._targets is not None:
            chosen = [self._targets[i] for i in indices]
            fill = IGNORED if chosen[0].dtype.kind in "iu" else 0
            targets = _padded(chosen, fill) if self._of_steps else np.stack(chosen)
        return PaddedBatch(x, lengths, targets, indices)


def bucket_batches(
    sequences: Sequence[ArrayLike],
    batch_size: int,
    *,
    targets: Sequence[ArrayLike] | None = None,
    bucket: int = 100,
    shuffle: bool = True,
    seed: int = 0,
) -> BucketBatches:
    """Put sequences of about equal length into batches, which reduces padding.

    Each pass shuffles the sequences, sorts those of every `bucket` batches by length, cuts them
    into batches and shuffles these (Khomenko et al. 2016, "Accelerating recurrent neural network
    training using sequence bucketing").

    Args:
        sequences: Arrays (T_i, ...) of any lengths; other axes and dtypes must be the same.
        batch_size: Number of sequences in a batch.
        targets: Arrays as long as their sequences, with one target per step, or arrays of one
            shape, each the target of a sequence; None for none.
        bucket: Number of batches whose sequences are sorted together: a larger one means less
            padding, a smaller one more randomness.
        shuffle: Whether each pass draws a new order; if not, all are sorted by length.
        seed: Seed of the orders.

    Returns:
        `PaddedBatch`es, time-major. They are padded with 0, and integer targets with -100, which
        losses ignore.

    Raises:
        ValueError: Shapes or numbers differ, or `sequences` is empty.
        TypeError: An argument is of the wrong type.
    """
    return BucketBatches(sequences, batch_size, targets, bucket, shuffle, seed)


def _arrays(name: str, values: Sequence[ArrayLike]) -> list[NDArray[Any]]:
    checks.of_type(name, values, Iterable)
    return [backends.array_of(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _check_like(name: str, arrays: list[NDArray[Any]]) -> None:
    """Check that arrays differ only in length."""
    if not arrays:
        raise ValueError(f"{name}: expected at least one, got none")
    first = arrays[0]
    for i, array in enumerate(arrays):
        if array.ndim < 1 or not len(array):
            raise ValueError(f"{name}[{i}]: expected at least one step, got shape {array.shape}")
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            expected = f"{first.dtype} of shape (T, {', '.join(map(str, first.shape[1:]))})"
            raise ValueError(
                f"{name}[{i}]: expected {expected}, like {name}[0], got {array.dtype} of shape "
                f"{array.shape}"
            )


def _padded(arrays: list[NDArray[Any]], fill: int) -> NDArray[Any]:
    """Return arrays (T_i, ...) padded to one array (T, B, ...)."""
    longest = max(map(len, arrays))
    padded = np.full((longest, len(arrays), *arrays[0].shape[1:]), fill, arrays[0].dtype)
    for i, array in enumerate(arrays):
        padded[: len(array), i] = array
    return padded
