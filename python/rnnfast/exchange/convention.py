"""How a source stores the weights of a recurrent layer: what a row of the table consists of.

Gates have the letters of the library: i, f, g, o of an LSTM, where g is the candidate; r, z, n of a
GRU, where z = 1 keeps the old state and n is the candidate; n of a plain RNN.

Numbers belong to a *part*, one value or row for each gate and unit:

| part | numbers | added to |
|---|---|---|
| x | input matrix | |
| h | recurrent matrix | |
| b | bias | the input product |
| c | bias | the recurrent product |
| p | peepholes, which the candidate does not have | |
| m | matrix from c | |
| r | projection of h, the same for all gates | |
| s | initial state, which must be zero | |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

VECTORS = "bcp"  # parts with one number for each gate and unit, not a matrix


class Array(NamedTuple):
    """An array of a source.

    Attributes:
        name: The end of its name, where `{mark}` stands for what marks the layer and the direction,
            as in "weight_ih{mark}". Dots separate levels.
        parts: The parts that it joins, along the axis of inputs.
        gates: The gates that it joins, along the axis of units; empty for those of the convention.
        rows: The rows of an array of vectors, one after the other; 0 for an array of one axis.
        optional: Whether a layer may lack it.
    """

    name: str
    parts: str
    gates: str = ""
    rows: int = 0
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a source stores the weights of one kind of layer.

    Attributes:
        source: What `convention=` names.
        layers: The classes of the source.
        cell: The cell of the library that computes the layer.
        gates: The order of the gates.
        arrays: The arrays of a layer in one direction.
        axes: "units, inputs" if the units are the first axis of a matrix, or "inputs, units".
        units: How the units of all gates are joined: "by gate"; "by unit", so that the gates of a
            unit follow each other; "by gate, units first" for a matrix whose blocks of memory
            have the other order of axes than the array; or "by stage" for a recurrent matrix whose
            memory holds one matrix of the first two gates and then one of the candidate.
        forget_offset: What every step adds to the argument of f, and the file does not contain;
            None if the caller chose it.
        z: Whether z = 1 "keeps" the old state or "replaces" it; None if the caller chose it.
        asks: Facts that the arrays do not tell.
        scope: A word that the names before the arrays' own must contain for `convention="auto"`.
        marks: How the forward and the backward direction of a layer are marked: `{layer}` is the
            number of the layer, `{place}` counts layers and directions together, as in 0 and 1
            for the two directions of the first layer. A single layer need not have a mark.
        checked: How the row was checked.
    """

    source: str
    layers: str
    cell: str
    gates: str
    arrays: tuple[Array, ...]
    axes: str = "units, inputs"
    units: str = "by gate"
    forget_offset: float | None = 0.0
    z: str | None = "keeps"
    asks: tuple[str, ...] = ()
    scope: str = ""
    marks: tuple[str, str] = ("", "")
    checked: str = "tests"

    def gates_of(self, array: Array, part: str = "") -> str:
        """Return the gates that an array joins, those of a part if one is given."""
        gates = array.gates or self.gates
        return gates.replace("g", "") if part == "p" else gates

    @property
    def parts(self) -> frozenset[str]:
        """The parts that the arrays contain."""
        return frozenset("".join(array.parts for array in self.arrays))

    def holds(self, part: str, gate: str) -> bool:
        """Return whether there is an array with a part of a gate."""
        return any(part in a.parts and gate in self.gates_of(a, part) for a in self.arrays)
