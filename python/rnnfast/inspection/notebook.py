"""Static views of an inspection for prompts and notebooks: tables, and text in colours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.tables import aligned, escaped, html_table

if TYPE_CHECKING:
    from rnnfast.inspection.result import Concept, Inspection

_CHARACTERS = 3000  # of text in a view, which keeps it below 200 kB
_PIECE = 300  # characters of text for a concept, at most
_CONCEPTS = 25  # in a view, at most
_UNITS = 5  # in a ranking
_LEVELS = 5  # of colour, on each side of 0
_COLOURS = {1: "#f0604a", -1: "#3f96e8"}  # translucent, so that they suit light and dark pages
_TEXT = (
    "font:12px/1.7 monospace;white-space:pre-wrap;unicode-bidi:bidi-override;direction:ltr;"
    "max-height:13em;overflow:auto"
)
_TITLE = "margin:12px 0 2px"
_CELL = "text-align:left;padding:2px 10px"
_UNIT = ("unit", "score", "threshold", "p")
_RANKING = ("concept", "best unit", "score", "threshold", "p", "next")


def inspection_html(inspection: Inspection) -> str:
    """Return the ranking of the concepts, and for each a piece of text coloured by its best unit.

    The pieces are of held-out text, where the concept varies most.
    """
    shown, heading, rows = _ranked(inspection)
    length = min(_PIECE, _CHARACTERS // max(1, len(shown)))
    return (
        f"<div><p>{heading}</p>{html_table(_RANKING, rows, style=_CELL)}"
        f"{''.join(_piece(inspection, c, length) for c in shown)}</div>"
    )


def inspection_text(inspection: Inspection) -> str:
    """Return the ranking of the concepts as plain text."""
    _, heading, rows = _ranked(inspection)
    return f"Inspection of {heading}\n{aligned([_RANKING, *rows])}"


def _ranked(inspection: Inspection) -> tuple[list[Concept], str, Sequence[tuple[str, ...]]]:
    """Return the concepts to show, a heading, and the rows of their ranking."""
    concepts = sorted(inspection.concepts.values(), key=lambda one: -one.best_strength)
    shown = concepts[:_CONCEPTS]
    rows = [
        (
            one.name,
            *_scores(one, one.ranking[0], inspection.units[one.ranking[0]]),
            ", ".join(inspection.units[u] for u in one.ranking[1:_UNITS]),
        )
        for one in shown
    ]
    heading = f"{len(inspection.units)} units, {len(concepts)} concepts, " + (
        f"{len(inspection.text):,} characters"
    )
    if len(shown) < len(concepts):
        heading += f"; the {len(shown)} that units tell best:"
    return shown, heading, rows


def concept_html(concept: Concept) -> str:
    """Return the best units of a concept and what its probes reach."""
    rows = _best(concept)
    probes = ""
    if concept.probe:
        pairs = zip(concept.probe.units, concept.probe.scores, strict=True)
        reached = ", ".join(f"{len(units)}: {score:.3f}" for units, score in pairs)
        probes = f"<p>score by the number of units of a linear probe: {reached}</p>"
    heading = f"<p><b>{escaped(concept.name)}</b> ({concept.kind})</p>"
    return f"<div>{heading}{html_table(_UNIT, rows, style=_CELL)}{probes}</div>"


def concept_text(concept: Concept) -> str:
    """Return the best units of a concept as plain text."""
    return f"Concept {concept.name!r} ({concept.kind})\n{aligned([_UNIT, *_best(concept)])}"


def _best(concept: Concept) -> list[tuple[str, ...]]:
    """Return the rows of a concept's best units."""
    return [_scores(concept, unit, str(unit)) for unit in concept.ranking[: 2 * _UNITS]]


def _scores(concept: Concept, unit: int, name: str) -> tuple[str, str, str, str]:
    """Return a unit's name, score, threshold and p-value on a concept, as text."""
    measure = "R²" if concept.kind == "count" else "AUC"
    score, threshold, p = (v[unit] for v in (concept.score, concept.threshold, concept.p_value))
    side = "<" if concept.sign[unit] < 0 else ">"
    return (
        name,
        "–" if np.isnan(score) else f"{measure} {score:.3f}",
        "" if np.isnan(threshold) else f"{side} {threshold:+.2f}",
        "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}",
    )


def _piece(inspection: Inspection, concept: Concept, length: int) -> str:
    """Return a piece of text coloured by the best unit, underlined where the concept holds."""
    best = concept.ranking[0]
    start = _liveliest(concept.values, inspection.held_out, length)
    text = inspection.text[start : start + length]
    values = inspection.activations[start : start + length, best]
    largest = np.abs(values).max(initial=0.0) or 1.0
    levels = np.rint(_LEVELS * values / largest).astype(int).tolist()
    holds = [False] * len(text)
    if concept.kind != "count":
        holds = concept.values[start : start + length].astype(bool).tolist()
    runs = groupby(zip(levels, holds, text, strict=True), key=lambda one: one[:2])
    spans = [_run(level, held, "".join(one[2] for one in run)) for (level, held), run in runs]
    title = f"{concept.name}: {inspection.units[best]}, {-largest:+.2f} to {largest:+.2f}"
    return f'<p style="{_TITLE}">{escaped(title)}</p><div style="{_TEXT}">{"".join(spans)}</div>'


def _run(level: int, holds: bool, text: str) -> str:
    """Return characters of one colour: blue below 0, red above."""
    style = ""
    if level:
        alpha = round(255 * 0.6 * abs(level) / _LEVELS)
        style = f"background:{_COLOURS[1 if level > 0 else -1]}{alpha:02x}"
    inside = escaped(text)
    if holds:
        inside = f"<u>{inside}</u>"
    return f'<span style="{style}">{inside}</span>' if style else inside


def _liveliest(values: NDArray[np.generic], held_out: int, length: int) -> int:
    """Return where the held-out piece starts in which the values vary most."""
    numbers = np.nan_to_num(values[held_out:].astype(np.float64))
    if len(numbers) <= length:
        return max(0, len(values) - length)
    sums, squares = (
        np.convolve(powers, np.ones(length), mode="valid") for powers in (numbers, numbers**2)
    )
    return held_out + int(np.argmax(squares / length - (sums / length) ** 2))
