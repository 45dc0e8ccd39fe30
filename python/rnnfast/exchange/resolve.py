"""The network that a source contains, by the one convention and the cell that fit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.network import Weights
from rnnfast.exchange import conversion
from rnnfast.exchange.convention import Convention
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.facts import Facts, ask, cell_of, merged, missing_in
from rnnfast.exchange.found import Found, Reading, find, stacked
from rnnfast.exchange.source import opened
from rnnfast.reference import Cell

SOURCES: tuple[str, ...] = tuple(dict.fromkeys(row.source for row in CONVENTIONS))
"""What `convention=` may name, besides "auto"."""


class Converted(NamedTuple):
    """A network in the layout of the library.

    Attributes:
        cell: The cell that computes it.
        weights: One for each layer and direction.
        bidirectional: Whether there are two directions; None if sizes do not tell.
    """

    cell: str | Cell
    weights: list[Weights]
    bidirectional: bool | None


def found_in(source: Any, convention: str = "auto") -> list[Found]:
    """Return the recurrent networks of a source, in the order of their names there.

    Args:
        source: As for `load_weights`.
        convention: As for `load_weights`.

    Raises:
        ValueError: The file is damaged, or of no format that is read.
        TypeError: `source` is neither a path nor a dict.
        OSError: The file cannot be read.
    """
    if convention != "auto":
        checks.choice("convention", convention, ("auto", *SOURCES))
    content = opened(source)
    return content.found or find(content.arrays, convention)


def converted(
    source: Any,
    convention: str,
    prefix: str | Sequence[str] | None,
    facts: Facts,
    bidirectional: bool | None,
) -> Converted:
    """Return the network of a source in the layout of the library."""
    found = found_in(source, convention)
    if not found:
        raise ValueError(
            "source: expected the weights of a recurrent layer, "
            + (
                "by the names and shapes of any convention"
                if convention == "auto"
                else f"by the names and shapes of {convention}"
            )
            + ", got none; rename the arrays to those of a row in docs/exchange.md, and pass its "
            "convention"
        )
    chosen = _chosen(found, prefix)
    if chosen.problem:
        raise ValueError(f"source: {_named(chosen)} cannot be loaded: {chosen.problem}")
    stated = merged(chosen.facts, facts)
    if chosen.backwards and not stated.get("reversed_input"):
        raise ask(_named(chosen), "it goes backwards", "reversed_input")
    reading = _settled(chosen, stated)
    offset, replaces = run_time(reading.convention, stated, _named(chosen))
    weights = [
        conversion.read(reading.convention, part.arrays, part.sizes, offset, replaces)
        for part in reading.parts
    ]
    cell = cell_of(reading.convention.cell, stated)
    if stated.get("coupled"):
        weights = [conversion.without_forget_gate(one) for one in weights]
    elif isinstance(cell, Cell) and cell.params and weights[0].weight_channel is None:
        weights = [
            one._replace(weight_channel=np.zeros((3, one.hidden_size), one.weight_ih.dtype))
            for one in weights
        ]
    directions = reading.directions
    return Converted(cell, weights, bidirectional if directions is None else directions == 2)


def _named(found: Found) -> str:
    return f"the network {found.prefix!r}" if found.prefix else "the network"


def _chosen(found: list[Found], prefix: str | Sequence[str] | None) -> Found:
    """Return the network that a caller names, or the only one."""
    by_prefix = {one.prefix: one for one in found}
    there = ", ".join(map(repr, by_prefix))
    wanted = [prefix] if isinstance(prefix, str) else prefix
    if wanted is None:
        if len(found) > 1:
            raise ValueError(
                f"source: expected one recurrent network, got {there}: pass one of these as "
                "prefix, or a list of those that are layers and directions of one network"
            )
        return found[0]
    for name in wanted:
        if name not in by_prefix:
            raise ValueError(f"prefix: expected one of {there}, got {name!r}")
    chosen = [by_prefix[name] for name in wanted]
    if not chosen:
        raise ValueError(f"prefix: expected at least one of {there}, got none")
    if len(chosen) == 1:
        return chosen[0]
    if problem := next((one.problem for one in chosen if one.problem), ""):
        raise ValueError(f"prefix: expected layers that can be loaded: {problem}")
    facts = [one.facts for one in chosen]
    if any(one != facts[0] for one in facts):
        raise ValueError("prefix: expected layers with the same activations, got different ones")
    if len({one.backwards for one in chosen}) > 1:
        raise ValueError(
            "prefix: expected layers of one direction, got some that go backwards and some that "
            "do not: read each by itself"
        )
    name = ", ".join(one.prefix for one in chosen)
    return Found(name, stacked(chosen, "prefix"), facts[0], chosen[0].backwards)


def _settled(found: Found, facts: Facts) -> Reading:
    """Return the only reading that the facts leave, or ask for what is missing."""
    readings = list(found.readings)
    if "reset_after" in facts:
        other = "gru_reset_before" if facts["reset_after"] else "gru"
        readings = [r for r in readings if r.convention.cell != other]
        if not readings:
            raise ValueError(
                f"reset_after: expected {not facts['reset_after']}, as the arrays of "
                f"{_named(found)} show, got {facts['reset_after']}"
            )
    different = [readings[0]]
    for reading in readings[1:]:
        if not any(_same(reading, other) for other in different):
            different.append(reading)
    if {r.convention.cell for r in different} == {"gru", "gru_reset_before"}:
        raise ask(_named(found), "its arrays do not tell the form of the GRU", "reset_after")
    if len(different) > 1:
        fitting = ", ".join(f"{r.convention.source} ({r.convention.layers})" for r in different)
        raise ValueError(
            f"convention: expected the one of {_named(found)}, which by its arrays can be "
            f"{fitting}, with different results; if one convention has several, name the arrays "
            "after the class, as in 'lstm.kernel'"
        )
    if missing := missing_in(different[0].convention, facts):
        raise ask(_named(found), "its arrays do not tell everything", *missing)
    return different[0]


def _same(one: Reading, other: Reading) -> bool:
    """Return whether two readings give the same layer."""
    a, b = one.convention, other.convention
    if (a.cell, a.asks, a.forget_offset, a.z) != (b.cell, b.asks, b.forget_offset, b.z):
        return False
    weights = [
        [conversion.read(r.convention, p.arrays, p.sizes, 0.0, False) for p in r.parts]
        for r in (one, other)
    ]
    return all(
        (x is None and y is None) or (x is not None and y is not None and np.array_equal(x, y))
        for first, second in zip(*weights, strict=True)
        for x, y in zip(first, second, strict=True)
    )


def run_time(row: Convention, facts: Facts, place: str) -> tuple[float, bool]:
    """Return the offset of the forget gate, and whether z = 1 replaces the state."""
    offset = _known(row, "forget_offset", row.forget_offset, facts, place)
    z = _known(row, "update_gate", row.z, facts, place)
    return offset, z == "replaces"


def _known(row: Convention, name: str, fixed: Any, facts: Facts, place: str) -> Any:
    """Return a fact that a row fixes, or else the caller states."""
    stated = merged(facts).get(name, fixed)
    if stated is None:
        raise ask(place, "its arrays do not tell everything", name)
    if fixed is not None and stated != fixed:
        raise ValueError(f"{name}: expected {fixed!r}, as in {row.source}, got {stated!r}")
    return stated
