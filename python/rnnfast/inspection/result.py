"""What an inspection found: which units of a model tell which concepts of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._files import AnyPath

YES_NO, COUNT = "yes/no", "count"
_AS_GOOD = 0.01  # a score that much lower is as good as another
_SURE = 0.05  # the largest p-value of a unit that surely tells a concept


@dataclass(frozen=True)
class Probe:
    """Sparse linear probes of a concept: how well a few units together tell it.

    Attributes:
        units: The indices of the units of each probe, the most important first.
        scores: The score of each probe on the held-out text: AUC or linear R2.
    """

    units: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]

    @property
    def needed(self) -> int:
        """The number of the smallest probe whose score is within 0.01 of the best."""
        good = max(self.scores) - _AS_GOOD
        return next(n for n, score in enumerate(self.scores) if score >= good)


@dataclass(frozen=True)
class Concept:
    """A property of every character of a text, and how well each of U units tells it.

    A unit tells a yes/no concept by lying beyond a threshold, a count by rising or falling with it.
    Signs and thresholds were chosen on the first part of the text, scores are of the rest.

    Attributes:
        name: Such as "inside quotes".
        kind: "yes/no" or "count".
        values: The truth for each character, bool or float (N,).
        score: On the held-out text (U,): the AUC of a yes/no concept in the direction of `sign`,
            or the R2 of a line through the counts.
        sign: 1 where a unit is larger when the concept holds or the count rises, else -1 (U,).
        threshold: The value beyond which a unit says yes (U,); NaN for counts.
        spearman: Rank correlation with the counts (U,); NaN for a yes/no concept.
        p_value: Probability of such a score by chance (U,), corrected for the number of units.
        probe: Sparse linear probes of several units; None if they were not fitted.
    """

    name: str
    kind: str
    values: NDArray[Any]
    score: NDArray[np.float64]
    sign: NDArray[Any]
    threshold: NDArray[np.float64]
    spearman: NDArray[np.float64]
    p_value: NDArray[np.float64]
    probe: Probe | None

    @property
    def strength(self) -> NDArray[np.float64]:
        """The scores on one scale (U,), from 0 for chance to 1 for a unit that always tells it."""
        chance = 0.0 if self.kind == COUNT else 0.5
        return np.clip((self.score - chance) / (1 - chance), 0, 1)

    @property
    def ranking(self) -> NDArray[np.intp]:
        """The indices of the units (U,), the best first."""
        return np.argsort(-self.score, kind="stable")

    @property
    def best_strength(self) -> float:
        """The strength of the best unit, 0 if that is not sure: if its `p_value` exceeds 0.05."""
        best = self.ranking[0]
        return float(np.nan_to_num(self.strength[best])) if self.p_value[best] <= _SURE else 0.0

    def __repr__(self) -> str:
        from rnnfast.inspection import notebook

        return notebook.concept_text(self)

    def _repr_html_(self) -> str:
        """Return a table of the best units, for notebooks."""
        from rnnfast.inspection import notebook

        return notebook.concept_html(self)


@dataclass(frozen=True)
class Inspection:
    """What each of U units of a model does over a text of N characters.

    Attributes:
        text: The text.
        activations: The value of each unit after it read each character, float32 (N, U): tanh(c)
            if the cell has a second state c, else h; or the value that was asked for.
        units: The names of the units: "l0[17]" is unit 17 of layer 0.
        held_out: Where the held-out text starts: thresholds and signs were chosen on
            `text[:held_out]`, scores are of `text[held_out:]`.
        concepts: The concepts by name.
        vocabulary: The V characters that the model knows.
        input_weights: The weights from characters to units by gate (U, V); the rows of units above
            the first layer are NaN.
        output_weights: The weights from units to characters (U, V); the rows of units below the
            last layer are NaN.
    """

    text: str
    activations: NDArray[np.float32]
    units: tuple[str, ...]
    held_out: int
    concepts: Mapping[str, Concept]
    vocabulary: tuple[str, ...]
    input_weights: Mapping[str, NDArray[Any]]
    output_weights: NDArray[Any]

    def concept_of(self, unit: int) -> str | None:
        """Return the name of the concept that a unit tells best, of those that it surely tells.

        A unit surely tells a concept if its `p_value` is at most 0.05.

        Args:
            unit: Its index.

        Returns:
            The name; None if there is no such concept.

        Raises:
            IndexError: There is no such unit.
            TypeError: `unit` is no integer.
        """
        if not isinstance(unit, Integral):
            raise TypeError(f"unit: expected an integer, got {type(unit).__name__}")
        if not 0 <= unit < len(self.units):
            raise IndexError(f"unit: expected an index in [0, {len(self.units)}), got {unit}")
        sure = [c for c in self.concepts.values() if c.p_value[unit] <= _SURE]
        return max(sure, key=lambda c: float(c.strength[unit])).name if sure else None

    def save_html(self, path: AnyPath, *, start: int | None = None, length: int = 20_000) -> None:
        """Write a report for a browser: one HTML file of at most 5 MB, which needs no network.

        It shows a piece of the text coloured by a unit of choice, and for each unit its values over
        a line, its scores, where it is largest and smallest, and its weights from and to
        characters. It also finds the places where the same units are on as in a selected piece.
        Values are stored in 63 steps. If not all units fit into 5 MB, the report leaves out those
        that rank lowest for every concept, and says so.

        Args:
            path: The file to write.
            start: The first character to show; None for the start of the held-out text, or earlier
                if fewer than `length` characters follow it.
            length: The largest number of characters to show.

        Raises:
            TypeError: `start` or `length` is no integer.
            ValueError: `start` or `length` lies outside the text, too much is to be shown, or a
                value is not finite.
            OSError: The file cannot be written.
        """
        from rnnfast.inspection import report

        report.write_report(self, path, start=start, length=length)

    def __repr__(self) -> str:
        from rnnfast.inspection import notebook

        return notebook.inspection_text(self)

    def _repr_html_(self) -> str:
        """Return a table of the concepts and pieces of coloured text, for notebooks."""
        from rnnfast.inspection import notebook

        return notebook.inspection_html(self)
