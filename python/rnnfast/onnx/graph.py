"""Recurrent nodes of an ONNX model, wherever they stand, and the constants that they read."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

OP_TYPES = ("LSTM", "GRU", "RNN")

Makers: TypeAlias = "ChainMap[str, Any]"
"""What makes a value: a node or an initializer, by the value's name; inner graphs before outer."""


class Found(NamedTuple):
    """A recurrent node.

    Attributes:
        node: The node itself.
        label: "LSTM node 'name'", for messages.
        constants: Its inputs that do not depend on the model's inputs, by their names in ONNX.
        variables: Names in ONNX of its other inputs.
        attributes: Its attributes as Python values; strings are decoded.
    """

    node: Any
    label: str
    constants: dict[str, NDArray[Any]]
    variables: tuple[str, ...]
    attributes: dict[str, Any]


def recurrent_nodes(model: Any) -> Iterator[Found]:
    """Every LSTM, GRU and RNN of a model in the order of its nodes.

    Branches and bodies of control flow are searched where they stand, and functions of the model
    where they are called.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    yield from _search(model.graph, ChainMap(), list(model.opset_import))


def _search(graph: Any, outer: Makers, opsets: list[Any]) -> Iterator[Found]:
    makers = outer.new_child({tensor.name: tensor for tensor in graph.initializer})
    makers.update({name: node for node in graph.node for name in node.output})
    for node in graph.node:
        if node.op_type in OP_TYPES and node.domain in ("", "ai.onnx"):
            yield _found(node, makers, opsets)
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                yield from _search(inner, makers, opsets)


def _graphs(attribute: Any) -> list[Any]:
    return [attribute.g] if attribute.HasField("g") else list(attribute.graphs)


def _found(node: Any, makers: Makers, opsets: list[Any]) -> Found:
    label = f"{node.op_type} node {node.name or node.output[0]!r}"
    schema = onnx.defs.get_schema(node.op_type)
    constants, variables = {}, []
    for formal, name in zip(schema.inputs, node.input, strict=False):
        value = _constant(name, makers, opsets) if name else None
        if value is not None:
            constants[formal.name] = value
        elif name:
            variables.append(formal.name)
    attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    return Found(node, label, constants, tuple(variables), attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value


def _constant(name: str, makers: Makers, opsets: list[Any]) -> NDArray[Any] | None:
    """The value of that name, or None if it depends on an input of the model."""
    nodes: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    if not _collect(name, makers, nodes, tensors):
        return None
    if name in tensors:
        return np.asarray(numpy_helper.to_array(tensors[name]))
    unique = {id(node): node for node in nodes.values()}  # a node may make several values
    graph = helper.make_graph(
        list(unique.values()),
        "constant",
        [],
        [helper.make_empty_tensor_value_info(name)],
        list(tensors.values()),
    )
    model = helper.make_model(graph, opset_imports=opsets)
    return np.asarray(ReferenceEvaluator(model).run([name], {})[0])


def _collect(name: str, makers: Makers, nodes: dict[str, Any], tensors: dict[str, Any]) -> bool:
    """Gather what makes a value, inputs before users; False if an input of the model does."""
    maker = makers.get(name)
    if name in nodes or name in tensors:
        return True
    if maker is None:
        return False
    if isinstance(maker, onnx.TensorProto):
        tensors[name] = maker
        return True
    if any(_graphs(attribute) for attribute in maker.attribute):
        return False  # control flow: not a constant that any exporter writes
    if not all(_collect(used, makers, nodes, tensors) for used in maker.input if used):
        return False
    nodes[name] = maker
    return True
