"""Evaluation of values of an ONNX model that do not depend on its inputs, within bounds.

Exporters compute weights and initial states by other nodes: a transposed matrix, or a parameter
that is expanded to the size of the batch. `Values` finds out what such a value depends on, and
evaluates it. A small file could require any amount of memory, so an operator is only run if the
size of its result is known in advance.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from rnnfast.onnx.operators import DOMAINS, elements, evaluated_opsets, is_evaluated

Makers: TypeAlias = "ChainMap[str, Any]"
"""The node or initializer that defines a value, by its name; inner graphs come before outer."""


class Kind(IntEnum):
    """What a value depends on."""

    CONSTANT = 0
    SHAPES = 1  # on shapes of other values, besides constants
    OPEN = 2  # on the model's inputs, or on an operator that is not evaluated


def describe(node: Any) -> str:
    """Return the name of a node for messages."""
    name = node.name or next(iter(node.output), "")
    return f"{node.op_type} node {name!r}"


def array_of(tensor: Any) -> NDArray[Any]:
    """Return the values of a TensorProto.

    Raises:
        ValueError: Its data are in another file, or do not fit its shape and type.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        files = {entry.value for entry in tensor.external_data if entry.key == "location"}
        raise ValueError(
            f"tensor {tensor.name!r}: expected its values in the model, but they are in the file "
            f"{', '.join(sorted(files))!r} beside it; pass the path of the model instead"
        )
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:
        raise ValueError(f"tensor {tensor.name!r}: its values cannot be read: {error}") from error


def inner_graphs(attribute: Any) -> Sequence[Any]:
    """Return the graphs of a node's attribute: branches and bodies."""
    return [attribute.g] if attribute.HasField("g") else list(attribute.graphs)


def stored(graph: Any) -> int:
    """Return the number of bytes or numbers that the tensors of a graph have in the file."""
    size = sum(map(_data, graph.initializer))
    for node in graph.node:
        for attribute in node.attribute:
            size += _data(attribute.t) + sum(map(stored, inner_graphs(attribute)))
    return size


def _data(tensor: Any) -> int:
    typed = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    return len(tensor.raw_data) + sum(map(len, typed)) + len(tensor.uint64_data)


def with_makers(outer: Makers, graph: Any) -> Makers:
    """Return the makers of the values of a graph, which is inside another one."""
    makers = outer.new_child({value.name: None for value in graph.input})
    makers.update({tensor.name: tensor for tensor in graph.initializer})
    makers.update({tensor.values.name: tensor for tensor in graph.sparse_initializer})
    makers.update({name: node for node in graph.node for name in node.output if name})
    return makers


class Values:
    """The values of a graph, of which some can be evaluated.

    Attributes:
        makers: The node or initializer that defines each value.
        limit: The most elements that an evaluation may create, including intermediate values.
    """

    def __init__(self, makers: Makers, opsets: Mapping[str, int], limit: int) -> None:
        self.makers = makers
        self.limit = limit
        self._opsets = dict(opsets)
        self._kinds: dict[str, Kind] = {}

    def kind(self, name: str) -> Kind:
        """Return what a value depends on."""
        if name not in self._kinds:
            for node in self._order(name):
                kind = self._kind_of(node)
                self._kinds.update((output, kind) for output in node.output)
        return self._known_kind(name)

    def open_sources(self, name: str) -> set[str]:
        """Return the names of the values that `name` depends on and that cannot be evaluated."""
        self.kind(name)
        nodes = [n for n in self._order(name, descend=self._descends) if self._descends(n)]
        used = {name}.union(*(n.input for n in nodes)) - {""}
        made = {output for n in nodes for output in n.output}
        return {n for n in used - made if self._known_kind(n) == Kind.OPEN}

    def describe(self, name: str) -> str:
        """Return a description of where a value comes from."""
        maker = self.makers.get(name)
        if isinstance(maker, onnx.NodeProto):
            return f"the output of {describe(maker)}"
        return f"the {'graph input' if maker is None else 'sparse tensor'} {name!r}"

    def shape_sources(self, name: str) -> set[str]:
        """Return the names of the values of which `name` needs only the shapes."""
        self.kind(name)
        nodes = self._order(name, descend=self._descends)
        return {node.input[0] for node in nodes if self._measures(node)}

    def evaluate(
        self, name: str, given: Mapping[str, NDArray[Any]] | None = None, more: int = 0
    ) -> NDArray[Any]:
        """Evaluate a value.

        Args:
            name: The name of a value that depends only on constants and on `given`.
            given: Known values by name.
            more: How many elements beyond `limit` may be created.

        Raises:
            ValueError: It depends on something else, an operator fails, or it is too large.
        """
        known = dict(given or {})

        def value(used: str) -> NDArray[Any]:
            if used not in known:
                maker = self.makers.get(used)
                if not isinstance(maker, onnx.TensorProto):
                    raise ValueError(f"value {used!r} cannot be computed")
                known[used] = array_of(maker)
            return known[used]

        left = self.limit + more
        for node in self._order(name, stops=known):
            arguments = {used: value(used) for used in node.input if used}
            try:
                left -= elements(node, [arguments[used] for used in node.input if used])
                if left < 0:
                    raise ValueError("its result is too large in relation to the size of the file")
                known.update(self._run(node, arguments))
            except Exception as error:  # onnx raises errors of any type
                raise ValueError(f"{describe(node)} cannot be computed: {error}") from error
        return value(name)

    def _run(self, node: Any, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the results of a node by name."""
        outputs = [name for name in node.output if name]
        inputs = [helper.make_empty_tensor_value_info(name) for name in given]
        ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
        # The evaluator would assume that a single node is of the newest operator set.
        graph = helper.make_graph([node], "node", inputs, ends)
        evaluator = ReferenceEvaluator(graph, opsets=evaluated_opsets(node, self._opsets))
        with np.errstate(all="ignore"):
            results = evaluator.run(outputs, given)
        return {n: np.asarray(result) for n, result in zip(outputs, results, strict=True)}

    def _order(
        self,
        name: str,
        *,
        stops: Collection[str] = (),
        descend: Callable[[Any], bool] = lambda _: True,
    ) -> list[Any]:
        """Return the nodes that compute a value, inputs first; each node of a cycle once.

        Args:
            name: The value.
            stops: Values that need no computation.
            descend: Whether the inputs of a node must be computed, too.
        """
        result, seen = [], set(stops)
        stack: list[tuple[str, Any]] = [(name, None)]
        while stack:
            value, ready = stack.pop()
            if ready is not None:
                result.append(ready)
                continue
            node = self.makers.get(value)
            if value in seen or not isinstance(node, onnx.NodeProto):
                continue
            seen.update(node.output)
            stack.append(("", node))
            if descend(node):
                stack.extend((used, None) for used in node.input if used)
        return result

    def _kind_of(self, node: Any) -> Kind:
        kinds = [self._known_kind(used) for used in node.input if used]
        if _reads_a_shape(node):
            return Kind.CONSTANT if kinds[:1] == [Kind.CONSTANT] else Kind.SHAPES
        return max(kinds, default=Kind.CONSTANT) if is_evaluated(node) else Kind.OPEN

    def _descends(self, node: Any) -> bool:
        """Return whether the values of the inputs of a node are needed to evaluate it."""
        return is_evaluated(node) and not self._measures(node)

    def _measures(self, node: Any) -> bool:
        """Return whether a node returns the shape of a value that cannot be evaluated."""
        return _reads_a_shape(node) and self._known_kind(node.input[0]) == Kind.OPEN

    def _known_kind(self, name: str) -> Kind:
        constant = isinstance(self.makers.get(name), onnx.TensorProto)
        return self._kinds.get(name, Kind.CONSTANT if constant else Kind.OPEN)


def _reads_a_shape(node: Any) -> bool:
    return node.op_type in ("Shape", "Size") and node.domain in DOMAINS and len(node.input) > 0
