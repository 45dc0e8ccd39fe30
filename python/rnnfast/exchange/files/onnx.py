"""Recurrent operators of ONNX models, read by `rnnfast.onnx`."""

from __future__ import annotations

from rnnfast.exchange import conversion
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.facts import Facts
from rnnfast.exchange.files.content import Content
from rnnfast.exchange.found import Found, Part, Reading


def read(path: str) -> Content:
    """Return the recurrent operators of a model.

    Those with activations, clips or coupled gates that no compiled cell has are left out: call them
    through `rnnfast.onnx.load`.
    """
    from rnnfast.onnx import load

    rows = {row.cell: row for row in CONVENTIONS if row.source == "onnx"}
    rows["rnn_relu"] = rows["rnn_tanh"]
    found = []
    for k, node in enumerate(load(path)):
        if node.cell is None:
            continue
        row, parts = rows[node.cell], []
        for direction in node.directions:
            arrays = conversion.write(row, direction.weights, 0.0, False)
            sizes = conversion.sizes_of(row, arrays)
            assert sizes is not None
            parts.append(Part(arrays, sizes))
        facts = Facts()
        if node.cell.startswith("rnn_"):
            facts["activation"] = node.cell.removeprefix("rnn_")
        reading = Reading(row, tuple(parts), len(parts))
        name = node.name or f"{node.op_type}_{k}"
        found.append(Found(name, (reading,), facts, node.direction == "reverse"))
    return Content({}, found)
