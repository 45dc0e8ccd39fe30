"""The results of `rnnfast.inspect`: concepts, and how well units tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

YES_NO, COUNT = "yes/no", "count"
_AS_GOOD = 0.01  # a score that much lower is as good as another


@dataclass(frozen=True)
class Probe:
    """How well a few units together tell a concept: linear probes of growing size.

    The lasso chooses the units and least squares the weights, both on `text[:held_out]`.

    Attributes:
        units: (K,) the units, in the order in which the lasso takes them up.
        sizes: (S,) the numbers of units of the probes: a probe of size n reads `units[:n]`.
        scores: (S,) the probes' scores on held-out text, AUC or linear R2 as of the concept.
    """

    units: NDArray[np.intp]
    sizes: NDArray[np.intp]
    scores: NDArray[np.float64]

    @property
    def needed(self) -> int:
        """The fewest units whose score is within 0.01 of the best probe's."""
        return int(self.sizes[np.argmax(self.scores >= self.scores.max() - _AS_GOOD)])


@dataclass(frozen=True)
class Concept:
    """Something that a text says at each character, and how well each of U units tells it.

    Attributes:
        name: Its name, such as "inside quotes".
        kind: "yes/no" or "count".
        values: (N,) its value at each character, of bool or float64.
        score: (U,) on held-out text: the area under the ROC curve of sign times the unit's value,
            or for counts R2 of the linear function of the unit's value that fits `text[:held_out]`.
        sign: (U,) +1 or -1: whether the unit's value rises or falls with the concept on
            `text[:held_out]`.
        threshold: (U,) the unit's value that best divides yes from no on `text[:held_out]`: it has
            the largest sum of sensitivity and specificity; NaN for counts.
        spearman: (U,) rank correlation on held-out text; NaN for yes/no.
        p_value: (U,) the probability that the best of all U units seems as good by chance.
        probe: Linear probes of few units; None if there are none.
    """

    name: str
    kind: str
    values: NDArray[np.bool_ | np.float64]
    score: NDArray[np.float64]
    sign: NDArray[np.int64]
    threshold: NDArray[np.float64]
    spearman: NDArray[np.float64]
    p_value: NDArray[np.float64]
    probe: Probe | None

    @property
    def ranking(self) -> NDArray[np.intp]:
        """The units (U,), best first."""
        return np.argsort(-self.score, kind="stable")

    @property
    def strength(self) -> NDArray[np.float64]:
        """How well the units tell the concept, (U,): 0 by chance, 1 for perfectly.

        This is 2 AUC - 1, or R2, which makes concepts of both kinds comparable.
        """
        return 2 * self.score - 1 if self.kind == YES_NO else self.score


@dataclass(frozen=True)
class Inspection:
    """What the units of a language model tell about a text, as found by `rnnfast.inspect`.

    Attributes:
        text: The N characters.
        activations: (N, U), each unit's value after reading a character.
        units: The names of the U units: "l0[17]" is unit 17 of layer 0.
        held_out: Scores are of `text[held_out:]`; what had to be chosen, such as thresholds, was
            chosen on `text[:held_out]`.
        concepts: The concepts by name.
        vocabulary: The V characters of the model.
        input_weights: For each gate, a row block of `weight_ih`, the weights (U, V) from characters
            to units, NaN for units of upper layers.
        output_weights: (U, V), weights from units to characters, NaN for units below the last
            layer.
    """

    text: str
    activations: NDArray[np.float32]
    units: tuple[str, ...]
    held_out: int
    concepts: Mapping[str, Concept]
    vocabulary: tuple[str, ...]
    input_weights: Mapping[str, NDArray[np.float32]]
    output_weights: NDArray[np.float32]

    def concept_of(self, unit: int) -> str:
        """Return the name of the concept that a unit tells best.

        Args:
            unit: Its number in `units`.

        Raises:
            IndexError: There is no such unit.
        """
        if not 0 <= unit < len(self.units):
            raise IndexError(f"unit: expected a number in [0, {len(self.units)}), got {unit}")
        return max(self.concepts.values(), key=lambda c: float(c.strength[unit])).name
