"""Batches that know their position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from rnnfast._engine import checks

Batch = TypeVar("Batch", covariant=True)


class Passes(ABC, Generic[Batch]):
    """Base of iterables of batches whose position can be saved and set.

    Each `iter` begins a new pass, but for the first one after `load_state_dict`, which is the rest
    of the pass at hand. The order of a pass depends on the seed and the pass's number alone. One
    iteration at a time has the position.

    Attributes:
        epoch: number of the present pass, from 0.
        index: batches that it has handed out.
    """

    def __init__(self, shuffle: bool, seed: int) -> None:
        self._shuffle = checks.boolean("shuffle", shuffle)
        self._seed = checks.count("seed", seed)
        self.epoch = self.index = 0
        self._goes_on = False

    @abstractmethod
    def __len__(self) -> int:
        """Batches a pass."""

    @abstractmethod
    def _order(self) -> Any:
        """What `_batch` needs of the present pass."""

    @abstractmethod
    def _batch(self, order: Any, index: int) -> Batch:
        """A batch of a pass."""

    def __iter__(self) -> Iterator[Batch]:
        if self.index and not self._goes_on:
            self.epoch, self.index = self.epoch + 1, 0
        self._goes_on = False
        order = self._order()
        while self.index < len(self):
            self.index += 1
            yield self._batch(order, self.index - 1)

    def _generator(self) -> np.random.Generator:
        """The generator of the present pass's order."""
        return np.random.default_rng([self._seed, self.epoch])

    def state_dict(self) -> dict[str, int]:
        """The position: the next batch of which pass."""
        if self.index == len(self):
            return {"epoch": self.epoch + 1, "index": 0}
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Set what `state_dict` gave for the same data.

        Raises:
            ValueError: A name is missing or unknown, or a number out of range.
            TypeError: A value is no integer.
        """
        checks.same_names("state", state, ("epoch", "index"))
        epoch = checks.integer("epoch", state["epoch"], 0, 2**62)
        self.index = checks.integer("index", state["index"], 0, len(self) - 1)
        self.epoch = epoch
        self._goes_on = True
