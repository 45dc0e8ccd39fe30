"""What a network of a source is, in words, and the line of Python that reads it."""

from __future__ import annotations

from typing import NamedTuple

from rnnfast.exchange.facts import Facts, cell_of, missing_in
from rnnfast.exchange.found import Found


class Description(NamedTuple):
    """A recurrent network of a source, in words.

    Attributes:
        name: Its prefix.
        source: The convention, or several that fit.
        layers: The classes of the source.
        cell: The cell of the library.
        input_size: I.
        hidden_size: H.
        num_layers: Layers.
        direction: "forward", "backward", "both", or "unknown" if sizes do not tell.
        facts: What the source says, such as activations.
        notes: What a user has to follow.
        line: Python that reads it, with a question mark for each fact that has to be given.
    """

    name: str
    source: str
    layers: str
    cell: str
    input_size: int
    hidden_size: int
    num_layers: int
    direction: str
    facts: str
    notes: tuple[str, ...]
    line: str


def describe(found: list[Found], path: str) -> list[Description]:
    """Return descriptions of the networks of a file.

    Args:
        found: What `found_in` returns.
        path: The file.
    """
    return [_described(one, path, only=len(found) == 1) for one in found]


def _described(found: Found, path: str, *, only: bool) -> Description:
    reading, rows = found.readings[0], [r.convention for r in found.readings]
    directions = reading.directions
    direction = {1: "forward", 2: "both", None: "unknown"}[directions]
    arguments = [repr(path)] + ([] if only else [f"prefix={found.prefix!r}"])
    asked = list(dict.fromkeys(name for row in rows for name in missing_in(row, found.facts)))
    if {row.cell for row in rows} == {"gru", "gru_reset_before"}:
        asked.append("reset_after")
    if directions is None:
        asked.append("bidirectional")
    arguments += [f"{name}=?" for name in asked]
    arguments += ["reversed_input=True"] if found.backwards else []
    sizes = reading.parts[0].sizes
    return Description(
        found.prefix,
        " or ".join(dict.fromkeys(row.source for row in rows)),
        " or ".join(dict.fromkeys(row.layers for row in rows)),
        " or ".join(dict.fromkeys(_cell(row.cell, found.facts) for row in rows)),
        sizes.inputs,
        sizes.hidden,
        len(reading.parts) // (directions or 1),
        "backward" if found.backwards else direction,
        ", ".join(f"{name}={value}" for name, value in found.facts.items()),
        (*found.notes, *([f"cannot be loaded: {found.problem}"] if found.problem else [])),
        f"rnnfast.read_layer({', '.join(arguments)})",
    )


def _cell(name: str, facts: Facts) -> str:
    cell = cell_of(name, facts)
    return cell if isinstance(cell, str) else cell.name
