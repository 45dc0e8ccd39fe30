"""The nodes of a graph as Python objects, which plans read instead of the file's own structure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from onnx import helper

from rnnfast.onnx.graph import plain
from rnnfast.onnx.values import array_of, describe, inner_graphs


@dataclass(eq=False)
class Node:
    """A node of a graph, with what is kept of it between plans.

    Attributes:
        proto: The node in the file.
        label: "Conv node 'name'", for messages.
        attributes: Its attributes as Python values, without graphs.
        branches: The graphs among its attributes, by their names.
        results: Its results, if they depend on constants alone and have been computed.
        prepared: The constants among its inputs, and the operation that was prepared for them.
    """

    proto: Any
    label: str
    attributes: dict[str, Any]
    branches: dict[str, Block]
    results: list[NDArray[Any]] | None = None
    prepared: tuple[list[NDArray[Any] | None], Any] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The domain and the name of the operator."""
        return self.proto.domain.removeprefix("ai.onnx"), self.proto.op_type


@dataclass(eq=False)
class Block:
    """A graph: a whole model, or a branch.

    Attributes:
        nodes: Its nodes in order.
        constants: Its initializers by name.
        inputs: The names of its inputs that have no default.
        outputs: The names of its outputs.
        free: The names that it reads from the graphs around it.
    """

    nodes: list[Node]
    constants: dict[str, NDArray[Any]]
    inputs: list[str]
    outputs: list[str]
    free: set[str] = field(default_factory=set)


def parsed(graph: Any) -> Block:
    """Return the block of a graph.

    Raises:
        ValueError: An initializer cannot be read, or is sparse.
    """
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ValueError(f"source: expected dense initializers, got a sparse one, {name!r}")
    constants = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    nodes = [_node(proto) for proto in graph.node]
    inputs = [value.name for value in graph.input]
    outputs = [value.name for value in graph.output]
    used = {name for node in nodes for name in node.proto.input if name} | set(outputs)
    used.update(name for node in nodes for block in node.branches.values() for name in block.free)
    made = {name for node in nodes for name in node.proto.output}
    return Block(nodes, constants, inputs, outputs, used - made - {*constants, *inputs})


def _node(proto: Any) -> Node:
    branches = {a.name: parsed(inner) for a in proto.attribute for inner in inner_graphs(a)}
    attributes = {
        a.name: plain(helper.get_attribute_value(a))
        for a in proto.attribute
        if a.name not in branches
    }
    return Node(proto, describe(proto), attributes, branches)
