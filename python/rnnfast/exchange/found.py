"""Finding the recurrent layers among the arrays of a source, by names and shapes."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rnnfast._engine.checks import RealArray
from rnnfast.exchange.convention import Convention
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.conversion import Sizes, real, sizes_of
from rnnfast.exchange.facts import Facts


class Part(NamedTuple):
    """The arrays of one layer in one direction.

    Attributes:
        arrays: By their names in the convention.
        sizes: Their sizes.
    """

    arrays: dict[str, RealArray]
    sizes: Sizes


@dataclass(frozen=True)
class Reading:
    """A convention by which a group of arrays is a recurrent network.

    Attributes:
        convention: The row of the table.
        parts: One for each layer and direction, in order.
        directions: 1 or 2; None if sizes do not tell.
    """

    convention: Convention
    parts: tuple[Part, ...]
    directions: int | None

    @property
    def used(self) -> int:
        """The number of arrays that it accounts for."""
        return sum(len(part.arrays) for part in self.parts)


@dataclass(frozen=True)
class Found:
    """A recurrent network in a source.

    Attributes:
        prefix: The part of the names of its arrays that they share.
        readings: The conventions that fit it equally well.
        facts: What the source says about it, apart from the arrays.
        backwards: Whether the source runs it over the reversed sequence.
        notes: What else matters to a user: merge modes, states that are kept.
        problem: Why it cannot be loaded; empty if it can.
    """

    prefix: str
    readings: tuple[Reading, ...]
    facts: Facts = field(default_factory=Facts)
    backwards: bool = False
    notes: tuple[str, ...] = ()
    problem: str = ""


def find(
    arrays: Mapping[str, object],
    source: str = "auto",
    facts: Mapping[str, Facts] | None = None,
) -> list[Found]:
    """Return the recurrent networks among arrays.

    Args:
        arrays: Arrays by their names, whose levels are separated by dots.
        source: The only convention to consider, or "auto".
        facts: What the source says about networks, by prefix.
    """
    groups: dict[str, list[Reading]] = defaultdict(list)
    for convention in CONVENTIONS:
        if source not in ("auto", convention.source):
            continue
        for prefix, marked in _grouped(convention, arrays).items():
            named = _in_scope(convention, prefix)
            if (named or source != "auto") and (reading := _reading(convention, marked)):
                groups[prefix].append(reading)
    result = []
    for prefix, readings in groups.items():
        best = _best(prefix, readings)
        result.append(Found(prefix, best, (facts or {}).get(prefix, Facts())))
    return _without_copies(result)


def _in_scope(convention: Convention, prefix: str) -> bool:
    return re.search(convention.scope, prefix, re.IGNORECASE) is not None


def _best(prefix: str, readings: list[Reading]) -> tuple[Reading, ...]:
    """Return the readings that account for most arrays, those that fit the prefix if there are."""
    most = max(reading.used for reading in readings)
    best = tuple(reading for reading in readings if reading.used == most)
    return tuple(r for r in best if r.convention.scope and _in_scope(r.convention, prefix)) or best


@functools.cache
def _pattern(convention: Convention) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """Return what matches the names of a row's arrays, and the arrays of its groups."""
    forward, backward = (
        re.sub(r"\\{(layer|place)\\}", lambda _: r"\d+", re.escape(mark))
        for mark in convention.marks
    )
    mark = f"(?:{forward}|{backward})?" if forward else ""
    names = [array.name for array in convention.arrays]
    ends = [
        re.escape(name).replace(r"\{mark\}", f"(?P<m{k}>{mark})") for k, name in enumerate(names)
    ]
    any_of = "|".join(f"(?P<n{k}>{end})" for k, end in enumerate(ends))
    return re.compile(rf"(?:(?P<prefix>.*?)\.)??(?:{any_of})"), tuple(names)


def _grouped(
    convention: Convention, arrays: Mapping[str, object]
) -> dict[str, dict[str, dict[str, object]]]:
    """Return the arrays that a row names, by prefix, mark and name."""
    pattern, names = _pattern(convention)
    groups: dict[str, dict[str, dict[str, object]]] = defaultdict(lambda: defaultdict(dict))
    for name, value in arrays.items():
        match = pattern.fullmatch(name)
        if match is not None:
            k = next(i for i in range(len(names)) if match[f"n{i}"] is not None)
            mark = match.groupdict().get(f"m{k}") or ""
            groups[match["prefix"] or ""][mark][names[k]] = value
    return groups


def _reading(convention: Convention, marked: Mapping[str, Mapping[str, object]]) -> Reading | None:
    """Return a network whose layers and directions have marks; None if it is none."""
    required = {array.name for array in convention.arrays if not array.optional}
    parts = {}
    for mark, values in marked.items():
        if not required <= set(values):
            return None
        try:
            arrays = {name: real(name, value) for name, value in values.items()}
        except (TypeError, ValueError):
            return None
        sizes = sizes_of(convention, arrays)
        if sizes is None:
            return None
        parts[mark] = Part(arrays, sizes)
    if list(parts) == [""]:
        return Reading(convention, (parts[""],), 1)
    for directions in (1, 2):
        layers, rest = divmod(len(parts), directions)
        expected = [mark_of(convention, k, directions) for k in range(len(parts))]
        if not rest and layers and set(expected) == set(parts):
            ordered = tuple(parts[mark] for mark in expected)
            fitting = [d for d in (1, 2) if len(parts) % d == 0 and _fit(ordered, d)]
            if "{place}" not in convention.marks[0]:
                fitting = [d for d in fitting if d == directions]
            if fitting:
                return Reading(convention, ordered, fitting[0] if len(fitting) == 1 else None)
    return None


def mark_of(convention: Convention, k: int, directions: int) -> str:
    """Return the mark of part k of a network."""
    layer, direction = divmod(k, directions)
    return convention.marks[direction].format(layer=layer, place=k)


def _fit(parts: Sequence[Part], directions: int) -> bool:
    """Return whether parts have the sizes of the layers of a network."""
    first = parts[0].sizes
    above = first._replace(inputs=directions * first.outputs)
    return all(part.sizes == (first if k < directions else above) for k, part in enumerate(parts))


def stacked(found: Sequence[Found], source: str) -> tuple[Reading, ...]:
    """Return the readings of networks of one layer, or direction, each as layers of one network.

    Args:
        found: One for each layer with its directions, or one for each direction, in order.
        source: What to call them in messages.

    Raises:
        ValueError: They do not fit together.
    """
    result = []
    for first in found[0].readings:
        convention = first.convention
        readings = [r for one in found for r in one.readings if r.convention is convention]
        parts = tuple(part for reading in readings for part in reading.parts)
        sizes = {len(reading.parts) for reading in readings}
        if len(readings) != len(found) or sizes not in ({1}, {2}):
            continue
        possible = (2,) if sizes == {2} else (1, 2)
        fitting = [d for d in possible if len(parts) % d == 0 and _fit(parts, d)]
        if fitting:
            result.append(Reading(convention, parts, fitting[0] if len(fitting) == 1 else None))
    if not result:
        got = ", ".join(
            f"{one.prefix or 'the arrays'}: {_sizes(one.readings[0].parts)}" for one in found
        )
        raise ValueError(
            f"{source}: expected arrays of one convention whose sizes are those of stacked layers, "
            f"got {got}"
        )
    return tuple(result)


def _sizes(parts: Iterable[Part]) -> str:
    return " and ".join(
        f"input_size {part.sizes.inputs}, hidden_size {part.sizes.hidden}" for part in parts
    )


def _without_copies(found: list[Found]) -> list[Found]:
    """Leave out networks inside others whose arrays they have.

    Modules of PaddlePaddle list the parameters of their cells a second time, and a gate of madmom
    looks like a plain RNN.
    """
    return [
        one
        for one in found
        if not any(_is_inside(one, other) and _has_arrays(other, one) for other in found)
    ]


def _is_inside(one: Found, other: Found) -> bool:
    return one is not other and one.prefix.startswith(f"{other.prefix}." if other.prefix else "")


def _has_arrays(one: Found, other: Found) -> bool:
    """Return whether a network has all arrays of another."""
    mine, theirs = _arrays(one), _arrays(other)
    return all(any(np.array_equal(a, b) for b in mine) for a in theirs)


def _arrays(found: Found) -> list[RealArray]:
    """Return the arrays of a network, apart from initial states."""
    reading = found.readings[0]
    states = {array.name for array in reading.convention.arrays if array.parts == "s"}
    return [a for part in reading.parts for name, a in part.arrays.items() if name not in states]
