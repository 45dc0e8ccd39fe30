"""Reading recurrent operators from ONNX models."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from rnnfast.layers import Recurrent
from rnnfast.onnx import reader
from rnnfast.onnx.graph import OP_TYPES, recurrent_nodes
from rnnfast.onnx.node import RecurrentNode
from rnnfast.onnx.source import advice, opened
from rnnfast.onnx.stacking import check_stackable, origins


def load(source: str | PathLike[str] | bytes | Any) -> list[RecurrentNode]:
    """Read every LSTM, GRU and RNN operator of an ONNX model.

    The rest of the model is not read. Operators are found in branches and loops, too, and in the
    model's functions; `RecurrentNode.branches` tells where one stands. Weights may be
    initializers, constants, or made of such by other nodes; float16 and bfloat16 weights become
    float32. Initial states and lengths that the model computes from such, or from the shape of its
    inputs, are computed in each call as well.

    Args:
        source: A path, the bytes of a file, or an `onnx.ModelProto`.

    Returns:
        The operators in the order of the model's nodes.

    Raises:
        ValueError: The source is not an ONNX model, or has no recurrent operator, or one that is
            not ONNX's own; or an operator has an attribute or input that is not of ONNX's
            definition, or weights that depend on the model's inputs. The message names them.
        TypeError: The weights are not real, or `source` is something else.
        OSError: The file cannot be read, or it is not a regular file.
    """
    model = opened(source)
    found, shapes = recurrent_nodes(model)
    if not found:
        raise ValueError(
            f"source: expected a model with a node of {', '.join(OP_TYPES)}, {advice(model)}"
        )
    return [
        reader.read(one, origin) for one, origin in zip(found, origins(found, shapes), strict=True)
    ]


def to_layer(*nodes: RecurrentNode) -> Recurrent:
    """Make a layer of operators, to train it on or to run it with the library's calls.

    The layer starts from the state that it is given, as operators do whose state is an input of
    the model, and from zeros without.

    Args:
        nodes: One for each layer of the network, the first layer first.

    Returns:
        A layer with the nodes' weights, in evaluation mode.

    Raises:
        ValueError: No cell of the library computes a node, its direction is "reverse", it has
            states or lengths that the model makes and a layer has not, or the nodes do not fit one
            another: two nodes of one model must stand one after the other there, with nothing in
            between that changes values.
        TypeError: One is not an operator.
    """
    if not nodes:
        raise ValueError("nodes: expected at least one, got none")
    for k, node in enumerate(nodes):
        if not isinstance(node, RecurrentNode):
            raise TypeError(
                f"nodes[{k}]: expected an operator, as `load` gives them, got "
                f"{type(node).__name__}; of a list of operators: to_layer(*nodes)"
            )
        _check_layer(f"nodes[{k}]", node)
    check_stackable([node.origin for node in nodes])
    first, directions = nodes[0], len(nodes[0].directions)
    for k, node in enumerate(nodes):
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


def _check_layer(name: str, node: RecurrentNode) -> None:
    if node.direction == "reverse":
        raise ValueError(f"{name}: expected direction forward or bidirectional, got reverse")
    if node.cell is None:
        cells = sorted({d.cell for d in node.directions})
        raise ValueError(
            f"{name}: expected a cell of the library, one for all directions, got a variant of "
            f"{', '.join(cells)} by its activations, clip or input_forget"
        )
    for own in ("initial_h", "initial_c", "sequence_lens"):
        if own in node.constants or (own in node.computed and not _is_default(node, own)):
            raise ValueError(
                f"{name}: expected an operator without {own} of the model's own, which a layer "
                "does not have, got one where it is "
                f"{'a constant' if own in node.constants else 'computed'}; call the operator itself"
            )


def _is_default(node: RecurrentNode, name: str) -> bool:
    """Whether a computed input is what a layer does without: zeros, or the length of all of X.

    It depends on nothing but X's shape, so two shapes tell.
    """
    own = node.computed[name]
    if isinstance(own, str):
        return False
    for seq_len, batch in ((2, 3), (5, 4)):
        axes = (batch, seq_len) if node.batch_first else (seq_len, batch)
        try:
            value = own((*axes, node.input_size))
        except ValueError:
            return False
        default = [seq_len] * batch if name == "sequence_lens" else np.zeros_like(value)
        if not np.array_equal(value, default):
            return False
    return True
