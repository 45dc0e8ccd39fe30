"""Graphs of layers with lengths that runtimes obey which ignore the lengths of ONNX's operators.

An operator runs over the padding, too. Its outputs there are set to zero, and the state of a
sequence is taken from its last step: h from the outputs, and the c of an LSTM from the operator,
because one more input, which is 1 in the padding, closes the input gate and opens the forget gate
there. A reverse direction is a forward one between two reversals of each sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from rnnfast._engine import onnx_layout as layout
from rnnfast._engine.checks import RealArray
from rnnfast.layers.recurrent import Recurrent
from rnnfast.onnx.building import GraphBuilder

LOSSES = {
    "rnn_relu": "tract computes tanh instead of Relu, and onnx's ReferenceEvaluator refuses Relu",
    "peephole_lstm": "OpenVINO ignores the peepholes",
}
"""What runtimes make of the operators of some cells, by the names of the cells."""
_LENGTHS = (
    "OpenVINO, unless the sizes of time and batch are fixed, and onnx's ReferenceEvaluator ignore "
    "the lengths, and tract refuses them"
)
_LEARNED = "OpenVINO and tract make constants of initial states that have a default"

_SHUT = 50  # the logistic function of this number is 1, and that of its opposite is below 1e-21
_INPUT_GATE, _FORGET_GATE = 0, 1  # the blocks of rows of our LSTMs


def losses(layer: Recurrent, lengths: bool) -> list[str]:
    """Return what runtimes other than onnxruntime make of the export of a layer."""
    found = [LOSSES[layer.cell]] if layer.cell in LOSSES else []
    return found + [_LENGTHS] * lengths + [_LEARNED] * layer.learn_state


class Masks(NamedTuple):
    """Values of a graph that follow from the lengths of its sequences.

    Attributes:
        inside: (T, B, 1), 1 for the steps of a sequence and 0 for the padding.
        padding: (T, B, 1), the opposite.
        last: (T, B, 1), 1 for the last step of a sequence.
        empty: (1, B, 1), 1 for a sequence without steps.
        turned: (T, B) of int64, the rows of x (T*B, I) that are the steps of reversed sequences.
    """

    inside: str
    padding: str
    last: str
    empty: str
    turned: str


def add_masks(graph: GraphBuilder, x: str) -> tuple[Masks, str]:
    """Add the masks for x (T, B, I) and the input `lengths`; return them, and x without padding."""
    lengths = graph.add("Cast", ["lengths"], "lengths_int64", to=int(TensorProto.INT64))
    ends = graph.add("Unsqueeze", [lengths, graph.integers("ends_axes", [0, 2])], "ends")
    sizes = graph.add("Shape", [x], "sizes")
    steps = graph.add("Gather", [sizes, graph.integers("time_place", 0)], "steps")
    first, one = graph.integers("first", 0), graph.integers("step", 1)
    time = graph.add("Range", [first, steps, one], "time")
    time = graph.add("Unsqueeze", [time, graph.integers("time_axes", [1, 2])], "time_column")
    inside = graph.add("Less", [time, ends], "is_inside")
    final = graph.add("Sub", [ends, one], "final_steps")
    masks = {
        "inside": inside,
        "padding": graph.add("Not", [inside], "is_padding"),
        "last": graph.add("Equal", [time, final], "is_last"),
        "empty": graph.add("Equal", [ends, first], "is_empty"),
    }
    numbers = {name: graph.add("Cast", [mask], name, to=graph.kind) for name, mask in masks.items()}
    before = graph.add("Sub", [final, time], "steps_before_the_end")
    turned = graph.add("Where", [inside, before, time], "turned_steps")
    turned = graph.add("Squeeze", [turned, graph.integers("width_axis", [2])], "turned_times")
    batch = graph.add("Gather", [sizes, graph.integers("batch_place", 1)], "batch")
    turned = graph.add("Mul", [turned, batch], "turned_starts")
    columns = graph.add("Range", [first, batch, one], "columns")
    turned = graph.add("Add", [turned, columns], "turned_rows")
    zeros = graph.real("zero_input", np.zeros(1))
    return Masks(**numbers, turned=turned), graph.add("Where", [inside, x, zeros], "x_inside")


def add_direction(
    graph: GraphBuilder,
    cell: str,
    arrays: Mapping[str, RealArray],
    x: str,
    initial: Sequence[str],
    masks: Masks,
    name: str,
    reverse: bool,
) -> tuple[str, list[str]]:
    """Add one direction of a layer.

    Args:
        graph: The graph.
        cell: The name of the cell.
        arrays: W, R and perhaps B of this direction, with a first axis of 1.
        x: (T, B, I).
        initial: The initial states, (1, B, H) each.
        masks: The masks.
        name: An ending for the names of values.
        reverse: Whether the direction is reverse.

    Returns:
        y (T, B, H) and the final states, (1, B, H) each.
    """
    x = _turned(graph, x, masks, f"x{name}") if reverse else x
    W = arrays["W"]
    if cell == "lstm":
        x = graph.add("Concat", [x, masks.padding], f"x_and_padding{name}", axis=2)
        W = np.concatenate([W, _gates_of_padding(arrays)], axis=2)
    operator = layout.OPERATORS[cell]
    constants = {
        key: graph.real(f"{key}{name}", array) for key, array in {**arrays, "W": W}.items()
    }
    states = dict(zip(("initial_h", "initial_c"), initial, strict=False))
    outputs = [f"Y{name}", f"Y_h{name}", *([f"Y_c{name}"] if cell == "lstm" else [])]
    graph.add(
        operator.op_type,
        layout.inputs({"X": x, **constants, **states}),
        *outputs,
        hidden_size=arrays["R"].shape[2],
        **operator.attributes,
    )
    axis = graph.integers(f"directions{name}", [1])
    everywhere = graph.add("Squeeze", [outputs[0], axis], f"y_everywhere{name}")
    y = graph.add("Mul", [everywhere, masks.inside], f"y_inside{name}")
    at_end = graph.add("Mul", [everywhere, masks.last], f"y_last{name}")
    at_end = graph.add("ReduceSum", [at_end, graph.integers(f"time{name}", [0])], f"h_end{name}")
    unchanged = graph.add("Mul", [initial[0], masks.empty], f"h_unchanged{name}")
    final = graph.add("Add", [at_end, unchanged], f"h_final{name}")
    return _turned(graph, y, masks, f"y{name}") if reverse else y, [final, *outputs[2:]]


def _turned(graph: GraphBuilder, x: str, masks: Masks, name: str) -> str:
    """Reverse each sequence of x (T, B, F) up to its end, by operators that every runtime has."""
    rows = graph.add("Flatten", [x], f"{name}_rows", axis=2)
    return graph.add("Gather", [rows, masks.turned], f"{name}_turned", axis=0)


def _gates_of_padding(arrays: Mapping[str, RealArray]) -> RealArray:
    """Return weights (1, 4*H, 1) of the padding's input that keep an LSTM's cell state.

    They outweigh what h, which is at most 1, and the biases add to a gate, but not by so much that
    the exponential function would overflow.
    """
    R = arrays["R"]
    most = np.abs(R).sum(2) + np.abs(arrays.get("B", np.zeros((1, 2 * R.shape[1])))).reshape(
        2, -1
    ).sum(0)
    order = layout.OPERATORS["lstm"].blocks
    column = np.zeros((len(order), R.shape[2]), R.dtype)
    column[order.index(_INPUT_GATE)] = -(most.max() + _SHUT)
    column[order.index(_FORGET_GATE)] = most.max() + _SHUT
    return column.reshape(1, -1, 1)
