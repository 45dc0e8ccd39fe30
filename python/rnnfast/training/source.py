"""Batches of any iterable over many passes, with a position that a run can resume from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rnnfast._engine import checks

_LARGEST = 2**62  # more than any run can count to


class BatchSource:
    """Yields the batches of an iterable, which is iterated over again for each pass.

    An iterator, such as a generator, has only one pass. If the iterable has `state_dict` and
    `load_state_dict`, these hold its position, and iterating after `load_state_dict` must yield the
    rest of the interrupted pass; such an iterable also needs a length, which marks the ends of
    passes. For any other iterable, a resumed run skips the batches that were already used, so the
    iterable must yield the same batches again.

    Attributes:
        batches: The iterable of batches.
        length: Number of batches in a pass; None if the iterable has no length.
        passes: Number of complete passes.
        taken: Number of batches yielded in the current pass.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        """Wrap an iterable.

        Raises:
            TypeError: `batches` is not iterable.
        """
        if not isinstance(batches, Iterable):
            raise TypeError(f"batches: expected an iterable, got {type(batches).__name__}")
        self.batches = batches
        self.length = _length(batches)
        self.passes = self.taken = 0
        self._once = isinstance(batches, Iterator)
        self._iterator: Iterator[Any] | None = None
        self._skip = 0  # batches that an earlier part of the run used
        self._rest = False  # whether the current pass resumes one, and so may be empty

    @property
    def epoch(self) -> float:
        """Number of passes so far; only whole passes count if their length is unknown."""
        return self.passes + (self.taken / self.length if self.length else 0.0)

    def take(self, count: int, passes: int = 0) -> Iterator[Any]:
        """Yield `count` batches, or fewer if the data end or `passes` passes are complete.

        Raises:
            ValueError: A pass has no batches, or fewer than the run has already used.
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
                    "batches: expected the batches of the run that is resumed, which has used "
                    f"{self._skip} of this pass, got only {i}"
                )
        self._skip = 0

    def _end_pass(self) -> None:
        self._iterator = None
        rest, self._rest = self._rest, False
        if rest and not self.taken:
            return
        if not self.taken:
            raise ValueError(
                f"batches: expected at least one batch per pass, got none in pass {self.passes + 1}"
            )
        self.passes, self.taken = self.passes + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs to continue with the next batch."""
        passes, taken = self.passes, self.taken
        if taken and taken == self.length and not self._once:
            passes, taken = passes + 1, 0
        state = {"passes": passes, "taken": taken}
        if hasattr(self.batches, "state_dict"):
            state["batches"] = self.batches.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: `state` does not come from `state_dict`, or not from such an iterable.
            TypeError: A value is of the wrong type.
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
    except TypeError:  # it has no length, or an unknown one
        return None
