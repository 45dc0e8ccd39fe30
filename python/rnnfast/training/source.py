"""Batches of any iterable, pass after pass, with a position to go on from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rnnfast._engine import checks

_LARGEST = 2**62  # a count that a run can reach


class BatchSource:
    """Hands out the batches of an iterable, which is begun anew at the end of each pass.

    An iterator, such as a generator, has one pass. Where the iterable has `state_dict` and
    `load_state_dict` they hold its position, and a pass begun after `load_state_dict` is the rest
    of the one at hand; it then needs a length, too, by which the ends of passes are known. Of any
    other iterable a resumed run skips the batches that were handed out, so it must give the same
    ones again.

    Attributes:
        batches: the iterable.
        length: batches a pass; None if the iterable does not tell.
        passes: passes that are complete.
        taken: batches handed out in the present pass.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        """Wraps an iterable.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(batches, Iterable):
            raise TypeError(f"batches: expected an iterable, got {type(batches).__name__}")
        self.batches = batches
        self.length = _length(batches)
        self.passes = self.taken = 0
        self._once = isinstance(batches, Iterator)
        self._iterator: Iterator[Any] | None = None
        self._skip = 0  # batches that an earlier part of the run has had
        self._rest = False  # whether the pass at hand may be the empty rest of one

    @property
    def epoch(self) -> float:
        """Passes made; whole ones alone if the length of a pass is not known."""
        return self.passes + (self.taken / self.length if self.length else 0.0)

    def take(self, count: int, passes: int = 0) -> Iterator[Any]:
        """Yields `count` batches: fewer where the data end, or at the end of `passes` passes.

        Raises:
            ValueError: a pass has no batches, or fewer than the run has had already.
        """
        while count and not (passes and self.passes >= passes):
            if self._iterator is None:
                if self._once and self.passes:
                    return
                self._iterator = iter(self.batches)
                self._skip_what_was_had()
            try:
                batch = next(self._iterator)
            except StopIteration:
                self._end_pass()
                continue
            self.taken += 1
            count -= 1
            yield batch

    def _skip_what_was_had(self) -> None:
        assert self._iterator is not None
        for i in range(self._skip):
            if next(self._iterator, self) is self:
                raise ValueError(
                    f"batches: expected those of the run that is resumed, which had {self._skip} "
                    f"of this pass, got {i}"
                )
        self._skip = 0

    def _end_pass(self) -> None:
        self._iterator = None
        rest, self._rest = self._rest, False
        if rest and not self.taken:
            return
        if not self.taken:
            raise ValueError(
                f"batches: expected at least one batch a pass, got none in pass {self.passes + 1}"
            )
        self.passes, self.taken = self.passes + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on with the next batch."""
        passes, taken = self.passes, self.taken
        if taken and taken == self.length and not self._once:
            passes, taken = passes + 1, 0
        state = {"passes": passes, "taken": taken}
        if hasattr(self.batches, "state_dict"):
            state["batches"] = self.batches.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets what `state_dict` gave.

        Raises:
            ValueError: it did not give this, or not for such an iterable.
            TypeError: a value is of the wrong type.
        """
        keeps = hasattr(self.batches, "load_state_dict")
        checks.same_names("batches", state, ("passes", "taken", *(["batches"] if keeps else [])))
        passes = checks.integer("passes", state["passes"], 0, _LARGEST)
        taken = checks.integer("taken", state["taken"], 0, _LARGEST)
        if keeps:
            self.batches.load_state_dict(state["batches"])  # type: ignore[attr-defined]
        self.passes, self.taken = passes, taken
        self._skip, self._rest = 0 if keeps else taken, keeps
        self._iterator = None


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:  # none, or none that is known
        return None
