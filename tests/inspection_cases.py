"""Inspections made by hand, of which everything is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast.inspection import Concept, Inspection, Probe

Array = np.ndarray[Any, Any]


def concept(name: str, values: Array, score: Array, sign: Array | None = None) -> Concept:
    """Return a concept with scores as given; yes/no for boolean values, else a count."""
    units = len(score)
    yes_no = values.dtype == bool
    none = np.full(units, np.nan)
    return Concept(
        name=name,
        kind="yes/no" if yes_no else "count",
        values=values,
        score=np.asarray(score, dtype=np.float64),
        sign=np.ones(units) if sign is None else sign,
        threshold=np.full(units, 0.25) if yes_no else none,
        spearman=none if yes_no else np.asarray(score, dtype=np.float64),
        p_value=np.full(units, 0.0004),
        probe=Probe(((0,), (0, 1)), (0.9, 0.99)),
    )


def inspection(
    text: str,
    activations: Array,
    concepts: list[Concept],
    *,
    held_out: int = 0,
    vocabulary: str = "abcdefghijklmnopqrstuvwxyz<\n ",
) -> Inspection:
    """Return an inspection of one layer with random weights."""
    units = activations.shape[1]
    rng = np.random.default_rng(5)
    return Inspection(
        text=text,
        activations=activations.astype(np.float32),
        units=tuple(f"l0[{u}]" for u in range(units)),
        held_out=held_out,
        concepts={one.name: one for one in concepts},
        vocabulary=tuple(vocabulary),
        input_weights={gate: rng.normal(size=(units, len(vocabulary))) for gate in "if"},
        output_weights=rng.normal(size=(units, len(vocabulary))),
    )


def inside_quotes(text: str) -> Array:
    """Return whether each character is a quote that opens, or what follows until it closes."""
    inside, found = False, []
    for char in text:
        inside = not inside if char == '"' else inside
        found.append(inside)
    return np.array(found)


def quoting(text: str, units: int = 8) -> Inspection:
    """Return an inspection in which units 2 and 5 tell quotes, up and down, and 3 counts.

    Unit 3 follows the position in the line; all other units are noise.
    """
    rng = np.random.default_rng(7)
    quoted = inside_quotes(text)
    position = np.array([n - (text.rfind("\n", 0, n) + 1) for n in range(len(text))], dtype=float)
    activations = rng.uniform(-1, 1, size=(len(text), units))
    activations[:, 2] = np.where(quoted, 0.8, -0.1)
    activations[:, 5] = np.where(quoted, -0.9, 0.1)
    activations[:, 3] = position / max(1.0, position.max())
    tells = np.full(units, 0.5)
    tells[[2, 5]] = 1.0, 0.99
    counts = np.zeros(units)
    counts[3] = 0.95
    sign = np.ones(units)
    sign[5] = -1
    return inspection(
        text,
        activations,
        [concept("position", position, counts), concept("inside quotes", quoted, tells, sign)],
    )
