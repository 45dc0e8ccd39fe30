"""The way back: the parameters of a layer as arrays of another library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks, known
from rnnfast._engine.checks import RealArray
from rnnfast.exchange import cells, conversion
from rnnfast.exchange.convention import Convention
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.facts import Facts, checked
from rnnfast.exchange.found import mark_of
from rnnfast.exchange.resolve import SOURCES, run_time
from rnnfast.layers.recurrent import Recurrent

if TYPE_CHECKING:
    from typing_extensions import Unpack


def to_weights(
    layer: Recurrent[Any], convention: str, **facts: Unpack[Facts]
) -> dict[str, RealArray]:
    """Return the parameters of a layer as arrays of another library: the inverse of `load_weights`.

    Args:
        layer: A layer of a cell that the library has.
        convention: One of `rnnfast.exchange.SOURCES`.
        facts: What the weights depend on and the library's layer is made with, such as
            `forget_offset` of TensorFlow 1.

    Returns:
        Copies by name, whose levels are separated by dots: `weight_ih_l0` for "pytorch", `kernel`
        for "keras", `ii.kernel` for "flax". If the source does not number layers, names of a layer
        with several layers or directions begin with their number: "0.ii.kernel".

    Raises:
        ValueError: The source has no such cell, or no place for something that the layer has; or a
            fact is missing.
        TypeError: An argument has the wrong type.
    """
    checks.choice("convention", convention, SOURCES)
    check_plain(layer)
    stated = checked(facts)
    rows = [row for row in CONVENTIONS if row.source == convention and _computes(row, layer.cell)]
    if not rows:
        theirs = dict.fromkeys(row.cell for row in CONVENTIONS if row.source == convention)
        raise ValueError(
            f"layer: expected a cell that {convention} has, one of {', '.join(theirs)}, got "
            f"{layer.cell!r}"
        )
    row = rows[0]
    offset, replaces = run_time(row, stated, "convention")
    result = {}
    for k, weights in enumerate(layer._weights):
        start, mark = _names_of(row, k, layer)
        for name, value in conversion.write(row, weights, offset, replaces).items():
            result[start + name.replace("{mark}", mark)] = value
    return result


def _names_of(row: Convention, k: int, layer: Recurrent[Any]) -> tuple[str, str]:
    """Return the beginning and the mark of the names of part k of a layer."""
    directions, several = (2 if layer.bidirectional else 1), len(layer._weights) > 1
    if layer.bidirectional and "{layer}" in row.marks[0] and row.marks[0] == row.marks[1]:
        raise ValueError(
            f"layer: expected one direction, as {row.layers} of {row.source} has one, got "
            "bidirectional=True"
        )
    if "{" in row.marks[0]:  # which counts layers
        named = several or "{layer}" in row.marks[0]
        return "", mark_of(row, k, directions) if named else ""
    if row.marks[0]:
        start = f"{k // directions}." if layer.num_layers > 1 else ""
        return start, mark_of(row, k, directions) if layer.bidirectional else ""
    return f"{k}." if several else "", ""


def _computes(row: Convention, cell: str) -> bool:
    """Return whether a row is that of a cell; activations of plain RNNs are facts."""
    if row.cell in cells.CELLS:
        return cell == known.name_of(cells.CELLS[row.cell])
    return row.cell == cell or (
        {row.cell, cell} == {"rnn_tanh", "rnn_relu"} and "activation" in row.asks
    )


def check_plain(layer: Any) -> None:
    """Refuse what no source has."""
    checks.of_type("layer", layer, Recurrent)
    if layer.learn_state:
        raise ValueError(
            "layer: expected a layer without learn_state, as other libraries' weights have no "
            "initial state, got learn_state=True"
        )
    checks.no_context("layer", layer.context_size, "other libraries' layers")
