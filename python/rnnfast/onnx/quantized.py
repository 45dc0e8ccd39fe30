"""The quantised LSTM of onnxruntime, rewritten to operators of ONNX that dequantise weights.

Source: the definition of `com.microsoft.DynamicQuantizeLSTM` in onnxruntime's documentation
("Contrib Operators").
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rnnfast.onnx.source import all_nodes
from rnnfast.onnx.values import describe, inner_graphs

_INPUTS = 12  # of LSTM, then scale and zero point of W, and of R
_OF_LSTM = 8


def dequantized(model: Any) -> Any:
    """Return a model in which each quantised LSTM is an LSTM with dequantised weights.

    It is the model itself if there are none.

    Raises:
        ValueError: A quantised LSTM has another number of inputs.
    """
    if not any(map(_is_quantized, all_nodes(model.graph))):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _rewrite(changed.graph)
    return changed


def _is_quantized(node: Any) -> bool:
    return (node.domain, node.op_type) == ("com.microsoft", "DynamicQuantizeLSTM")


def _rewrite(graph: Any) -> None:
    """Rewrite the quantised LSTMs of a graph, and of the graphs inside it."""
    nodes: list[Any] = []
    for node in graph.node:
        for attribute in node.attribute:
            for inner in inner_graphs(attribute):
                _rewrite(inner)
        if not _is_quantized(node):
            nodes.append(node)
            continue
        if len(node.input) != _INPUTS:
            raise ValueError(f"{describe(node)}: expected {_INPUTS} inputs, got {len(node.input)}")
        scales = node.input[_OF_LSTM:]
        for k, weight in ((1, scales[:2]), (2, scales[2:])):
            made, node.input[k] = _weights(node, node.input[k], *weight)
            nodes += made
        del node.input[_OF_LSTM:]
        node.domain, node.op_type = "", "LSTM"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _weights(lstm: Any, weight: str, scale: str, zero: str) -> tuple[list[Any], str]:
    """Return nodes that dequantise and transpose a weight, and the name of their result.

    The weight is (D, I, 4*H), and its scale and zero point (D,) or (D, 4*H).
    """
    prefix = f"{lstm.output[0] or lstm.output[1] or lstm.output[2]}/{weight}"
    nodes: list[Any] = []

    def add(op_type: str, *inputs: str, **attributes: Any) -> str:
        output = f"{prefix}/{len(nodes)}"
        nodes.append(helper.make_node(op_type, inputs, [output], **attributes))
        return output

    # The first axis, then any number of columns.
    shape = add("Constant", value=numpy_helper.from_array(np.array([0, 1, -1])))
    steps = add("Cast", weight, to=TensorProto.FLOAT)
    if zero:
        zeros = add("Cast", add("Reshape", zero, shape), to=TensorProto.FLOAT)
        steps = add("Sub", steps, zeros)
    values = add("Mul", steps, add("Reshape", scale, shape))
    return nodes, add("Transpose", values, perm=[0, 2, 1])
