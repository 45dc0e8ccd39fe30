"""Reading recurrent operators from ONNX models."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import onnx

from rnnfast.layers import Recurrent
from rnnfast.onnx import reader
from rnnfast.onnx.graph import OP_TYPES, recurrent_nodes
from rnnfast.onnx.node import RecurrentNode


def load(source: str | PathLike[str] | bytes | Any) -> list[RecurrentNode]:
    """Read every LSTM, GRU and RNN operator of an ONNX model.

    The rest of the model is not read. Operators are found in branches and loops, too, and in the
    model's functions. Weights may be initializers, constants, or made of such by other nodes.

    Args:
        source: A path, the bytes of a file, or an `onnx.ModelProto`.

    Returns:
        The operators in the order of the model's nodes.

    Raises:
        ValueError: There is none, or one has an attribute or input that is not of ONNX's
            definition, or weights that depend on the model's inputs; the message names them.
        TypeError: The weights are neither float32 nor float64.
    """
    if isinstance(source, bytes):
        model = onnx.load_model_from_string(source)
    else:
        model = source if isinstance(source, onnx.ModelProto) else onnx.load(fspath(source))
    nodes = [reader.read(found) for found in recurrent_nodes(model)]
    if not nodes:
        others = sorted({node.op_type for node in model.graph.node})
        raise ValueError(
            f"source: expected a model with a node of {', '.join(OP_TYPES)}, got nodes of "
            f"{', '.join(others) or 'nothing'}"
        )
    return nodes


def to_layer(*nodes: RecurrentNode) -> Recurrent:
    """Make a layer of operators, to train it on or to run it with the library's calls.

    Args:
        nodes: One for each layer of the network, the first layer first.

    Returns:
        A layer with the nodes' weights, in evaluation mode.

    Raises:
        ValueError: No cell of the library computes a node, its direction is "reverse", or the
            nodes do not fit one another.
    """
    if not nodes:
        raise ValueError("nodes: expected at least one, got none")
    first, directions = nodes[0], len(nodes[0].directions)
    for k, node in enumerate(nodes):
        _check_stackable(f"nodes[{k}]", node)
        got = _kind(node), node.input_size
        inputs = directions * first.hidden_size if k else first.input_size
        if got != (_kind(first), inputs):
            raise ValueError(
                f"nodes[{k}]: expected (cell, directions, hidden_size, dtype, batch_first), "
                f"input_size = {_kind(first)}, {inputs}, got {got[0]}, {got[1]}"
            )
    weights = [d.weights for node in nodes for d in node.directions]
    bias = any(w.bias_ih is not None for w in weights)
    assert first.cell is not None
    layer = Recurrent(
        first.cell,
        first.input_size,
        first.hidden_size,
        len(nodes),
        bias=bias,
        batch_first=first.batch_first,
        bidirectional=directions == 2,
        dtype=first.dtype,
    )
    for k, of_direction in enumerate(weights):
        for name, target in layer._weights[k]._asdict().items():
            if target is not None:
                value = getattr(of_direction, name)
                target[...] = 0 if value is None else value  # a node without B has no biases
    return layer.eval()


def _kind(node: RecurrentNode) -> tuple[object, ...]:
    return node.cell, len(node.directions), node.hidden_size, node.dtype.name, node.batch_first


def _check_stackable(name: str, node: RecurrentNode) -> None:
    if node.direction == "reverse":
        raise ValueError(f"{name}: expected direction forward or bidirectional, got reverse")
    if node.cell is None:
        cells = sorted({d.cell for d in node.directions})
        raise ValueError(
            f"{name}: expected a cell of the library, one for all directions, got a variant of "
            f"{', '.join(cells)} by its activations, clip or input_forget"
        )
