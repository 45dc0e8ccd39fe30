"""Reading recurrent operators from ONNX models."""

from __future__ import annotations

from os import PathLike
from typing import Any

from rnnfast.layers.learned import parameter_name
from rnnfast.layers.recurrent import Recurrent
from rnnfast.onnx import reader
from rnnfast.onnx.graph import OP_TYPES, recurrent_nodes
from rnnfast.onnx.node import RecurrentNode
from rnnfast.onnx.source import advice, opened
from rnnfast.onnx.stacking import check_stackable, origins


def load(source: str | PathLike[str] | bytes | Any) -> list[RecurrentNode]:
    """Read every LSTM, GRU and RNN operator of an ONNX model.

    The rest of the model is ignored. Operators are also found in branches, loops and functions of
    the model; `RecurrentNode.branches` shows where an operator is. Weights may be initializers,
    constants, or computed from these by other nodes; float16 and bfloat16 weights become float32.
    Initial states and lengths that the model computes from constants, or from the shape of its
    inputs, are computed in each call, too.

    Args:
        source: A path, the bytes of a file, or an `onnx.ModelProto`.

    Returns:
        The operators in the order of the model's nodes.

    Raises:
        ValueError: The source is not an ONNX model, has no recurrent operator, or has one that is
            not defined by ONNX; or an operator has an attribute or input that ONNX does not define,
            or weights that depend on the inputs of the model. The message names them.
        TypeError: The weights are not real numbers, or `source` has another type.
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
    """Build a layer from operators, for further training or for use with the library.

    The layer starts from the state that it is given, like operators whose state is an input of the
    model. If none is given, it starts from zeros, or from the constant state of the model: a state
    that is the same for all sequences becomes a parameter of the layer, with `learn_state=True`.

    Args:
        nodes: The operators, one for each layer of the network, in order.

    Returns:
        A layer with the weights of the nodes, in evaluation mode.

    Raises:
        ValueError: No cell of the library computes a node; its direction is "reverse"; the model
            defines lengths, or states that differ between sequences, which a layer cannot have; or
            the nodes do not fit together: if two nodes are from the same model, the second must
            read the unchanged output of the first.
        TypeError: An argument is not an operator.
    """
    if not nodes:
        raise ValueError("nodes: expected at least one, got none")
    for k, node in enumerate(nodes):
        if not isinstance(node, RecurrentNode):
            raise TypeError(
                f"nodes[{k}]: expected an operator as returned by `load`, got "
                f"{type(node).__name__}; for a list of operators, write to_layer(*nodes)"
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
    states = [node._own_states(f"nodes[{k}]") for k, node in enumerate(nodes)]
    assert first.cell is not None
    layer = Recurrent(
        first.cell,
        first.input_size,
        first.hidden_size,
        len(nodes),
        bias=bias,
        batch_first=first.batch_first,
        bidirectional=directions == 2,
        learn_state=any(rows is not None for of_node in states for rows in of_node),
        dtype=first.dtype,
    )
    for k, of_direction in enumerate(weights):
        for name, target in layer._weights[k]._asdict().items():
            if target is not None:
                value = getattr(of_direction, name)
                target[...] = 0 if value is None else value  # a node without B has no biases
    if layer.learn_state:
        for state, of_state in enumerate(zip(*states, strict=True)):
            parameter = getattr(layer, parameter_name(state))
            for k, rows in enumerate(of_state):
                if rows is not None:
                    parameter[k * directions : (k + 1) * directions] = rows
    return layer.eval()


def _kind(node: RecurrentNode) -> tuple[object, ...]:
    return node.cell, len(node.directions), node.hidden_size, node.dtype.name, node.batch_first


def _check_layer(name: str, node: RecurrentNode) -> None:
    if node.direction == "reverse":
        raise ValueError(f"{name}: expected direction forward or bidirectional, got reverse")
    if node.cell is None:
        cells = sorted({d.cell for d in node.directions})
        raise ValueError(
            f"{name}: expected a cell of the library, the same for all directions, got "
            f"{', '.join(cells)} with other activations, clip or input_forget"
        )
    node._check_no_lengths(name)
