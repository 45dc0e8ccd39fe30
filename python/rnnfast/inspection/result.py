"""What an inspection found: which units of a model tell which concepts of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Inspection:
    """What each of U units of a model does over a text of N characters.

    Attributes:
        text: The text.
        activations: The value of each unit after it read each character, float32 (N, U): tanh(c)
            if the cell has a second state c, else h.
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
        """
        if not 0 <= unit < len(self.units):
            raise IndexError(f"unit: expected an index in [0, {len(self.units)}), got {unit}")
        sure = [c for c in self.concepts.values() if c.p_value[unit] <= _SURE]
        return max(sure, key=lambda c: float(c.strength[unit])).name if sure else None
