"""Iterables of batches that can save and restore their position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from rnnfast._engine import checks

Batch = TypeVar("Batch", covariant=True)


class Passes(ABC, Generic[Batch]):
    """Base of iterables of batches whose position can be saved and restored.

    Each `iter` begins a new pass, except that the first one after `load_state_dict` continues the
    interrupted pass. The order of a pass depends only on the seed and the number of the pass. Only
    one iteration may be in progress at a time, since all share the position.

    Attributes:
        epoch: Number of the current pass, from 0.
        index: Number of batches yielded in the current pass.
    """

    def __init__(self, shuffle: bool, seed: int) -> None:
        self._shuffle = checks.boolean("shuffle", shuffle)
        self._seed = checks.integer("seed", seed, 0, None)
        self.epoch = self.index = 0
        self._goes_on = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches in a pass."""

    @abstractmethod
    def _order(self) -> Any:
        """Return the order of the current pass, which is passed on to `_batch`."""

    @abstractmethod
    def _batch(self, order: Any, index: int) -> Batch:
        """Return a batch of a pass by its index."""

    def __iter__(self) -> Iterator[Batch]:
        if self.index and not self._goes_on:
            self.epoch, self.index = self.epoch + 1, 0
        self._goes_on = False
        order = self._order()
        while self.index < len(self):
            self.index += 1
            yield self._batch(order, self.index - 1)

    def _generator(self) -> np.random.Generator:
        """Return the random generator for the order of the current pass."""
        return np.random.default_rng([self._seed, self.epoch])

    def state_dict(self) -> dict[str, int]:
        """Return the position: the current pass, and the next batch in it."""
        if self.index == len(self):
            return {"epoch": self.epoch + 1, "index": 0}
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore what `state_dict` returned for the same data.

        Raises:
            ValueError: A name is missing or unknown, or a number out of range.
            TypeError: A value is not an integer.
        """
        checks.same_names("state", state, ("epoch", "index"))
        epoch = checks.integer("epoch", state["epoch"], 0, 2**62)
        self.index = checks.integer("index", state["index"], 0, len(self) - 1)
        self.epoch = epoch
        self._goes_on = True
