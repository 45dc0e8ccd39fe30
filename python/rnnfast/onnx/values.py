"""Values that an ONNX file computes without knowing its inputs, evaluated within bounds.

Exporters compute weights and initial states by other nodes: a transposed matrix, a parameter
that is expanded to the batch's size. `Values` tells what such a value depends on, and evaluates
it. A small file can ask for any amount of memory, so only operators of which the size of the
result is known beforehand are run.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

Makers: TypeAlias = "ChainMap[str, Any]"
"""What makes a value: a node or an initializer, by the value's name; inner graphs before outer."""

DOMAINS = ("", "ai.onnx")


class Kind(IntEnum):
    """What a value depends on."""

    CONSTANT = 0
    SHAPES = 1  # on shapes of other values, besides constants
    OPEN = 2  # on the model's inputs, or on an operator that is not evaluated


def describe(node: Any) -> str:
    """A node as messages name it."""
    name = node.name or next(iter(node.output), "")
    return f"{node.op_type} node {name!r}"


def array_of(tensor: Any) -> NDArray[Any]:
    """The values of a TensorProto.

    Raises:
        ValueError: Its data lie in another file, or do not fit its shape and type.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        files = {entry.value for entry in tensor.external_data if entry.key == "location"}
        raise ValueError(
            f"tensor {tensor.name!r}: expected its values in the model, but they are in the file "
            f"{', '.join(sorted(files))!r} beside it; give the path of the model instead"
        )
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:
        raise ValueError(f"tensor {tensor.name!r}: its values cannot be read: {error}") from error


def with_makers(outer: Makers, graph: Any) -> Makers:
    """What makes the values of a graph that stands in another one."""
    makers = outer.new_child({value.name: None for value in graph.input})
    makers.update({tensor.name: tensor for tensor in graph.initializer})
    makers.update({tensor.values.name: tensor for tensor in graph.sparse_initializer})
    makers.update({name: node for node in graph.node for name in node.output if name})
    return makers


class Values:
    """The values of a graph, of which some can be evaluated.

    Attributes:
        makers: What makes each value.
        limit: How many elements an evaluation may make, intermediate values included.
    """

    def __init__(self, makers: Makers, opsets: Mapping[str, int], limit: int) -> None:
        self.makers = makers
        self.limit = limit
        self._opsets = dict(opsets)
        self._kinds: dict[str, Kind] = {}

    def kind(self, name: str) -> Kind:
        """What a value depends on."""
        if name not in self._kinds:
            for node in self._order(name):
                kind = self._kind_of(node)
                self._kinds.update((output, kind) for output in node.output)
        return self._known_kind(name)

    def open_sources(self, name: str) -> set[str]:
        """Names of the values that `name` is computed from and that cannot be evaluated."""
        self.kind(name)
        nodes = [n for n in self._order(name, descend=self._descends) if self._descends(n)]
        used = {name}.union(*(n.input for n in nodes)) - {""}
        made = {output for n in nodes for output in n.output}
        return {n for n in used - made if self._known_kind(n) == Kind.OPEN}

    def describe(self, name: str) -> str:
        """Where a value comes from, in words."""
        maker = self.makers.get(name)
        if isinstance(maker, onnx.NodeProto):
            return f"the output of {describe(maker)}"
        return f"the {'graph input' if maker is None else 'sparse tensor'} {name!r}"

    def shape_sources(self, name: str) -> set[str]:
        """Names of the values of which `name` needs the shapes, and nothing else."""
        self.kind(name)
        nodes = self._order(name, descend=self._descends)
        return {node.input[0] for node in nodes if self._measures(node)}

    def evaluate(
        self, name: str, given: Mapping[str, NDArray[Any]] | None = None, more: int = 0
    ) -> NDArray[Any]:
        """The value of that name.

        Args:
            name: A constant, or a value that depends on nothing besides those that are given.
            given: Values by their names.
            more: How many elements may be made beyond `limit`.

        Raises:
            ValueError: It depends on something else, an operator fails, or its values are too many.
        """
        known = dict(given or {})

        def value(used: str) -> NDArray[Any] | None:
            if used and used not in known:
                maker = self.makers.get(used)
                if not isinstance(maker, onnx.TensorProto):
                    raise ValueError(f"value {used!r} cannot be computed")
                known[used] = array_of(maker)
            return known[used] if used else None

        left = self.limit + more
        for node in self._order(name, stops=known):
            arguments = [value(used) for used in node.input]
            try:
                left -= _elements(node, [a for a in arguments if a is not None])
                if left < 0:
                    raise ValueError("its result is too large for a file of this size")
                results = self._run(node, arguments)
            except Exception as error:  # the evaluator's errors are of any type
                raise ValueError(f"{describe(node)} cannot be computed: {error}") from error
            known.update(zip(node.output, results, strict=False))
        result = value(name)
        assert result is not None
        return result

    def _run(self, node: Any, arguments: list[NDArray[Any] | None]) -> list[NDArray[Any]]:
        evaluator = ReferenceEvaluator(node, opsets=self._opsets)
        given = {n: a for n, a in zip(node.input, arguments, strict=True) if a is not None}
        with np.errstate(all="ignore"):
            return [np.asarray(result) for result in evaluator.run(None, given)]

    def _order(
        self,
        name: str,
        *,
        stops: Collection[str] = (),
        descend: Callable[[Any], bool] = lambda _: True,
    ) -> list[Any]:
        """The nodes that make a value, makers before users; of a cycle each node once.

        Args:
            name: The value.
            stops: Values that nothing has to make.
            descend: Whether the inputs of a node are to be made, too.
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
        return max(kinds, default=Kind.CONSTANT) if _is_evaluated(node) else Kind.OPEN

    def _descends(self, node: Any) -> bool:
        """Whether the values of a node's inputs are needed to evaluate it."""
        return _is_evaluated(node) and not self._measures(node)

    def _measures(self, node: Any) -> bool:
        """Whether a node gives the shape of a value that cannot be evaluated."""
        return _reads_a_shape(node) and self._known_kind(node.input[0]) == Kind.OPEN

    def _known_kind(self, name: str) -> Kind:
        constant = isinstance(self.makers.get(name), onnx.TensorProto)
        return self._kinds.get(name, Kind.CONSTANT if constant else Kind.OPEN)


def _is_evaluated(node: Any) -> bool:
    return node.op_type in _SIZES and node.domain in DOMAINS


def _reads_a_shape(node: Any) -> bool:
    return node.op_type in ("Shape", "Size") and node.domain in DOMAINS and len(node.input) > 0


def _elements(node: Any, arguments: list[NDArray[Any]]) -> int:
    """At most how many elements an evaluated node makes."""
    return int(_SIZES[node.op_type](node, arguments))


_Size: TypeAlias = "Callable[[Any, list[NDArray[Any]]], Any]"


def _as_inputs(_: Any, arguments: list[NDArray[Any]]) -> int:
    return sum(a.size for a in arguments)


def _broadcast(_: Any, arguments: list[NDArray[Any]]) -> int:
    return math.prod(np.broadcast_shapes(*(a.shape for a in arguments)))


def _constant(node: Any, _: list[NDArray[Any]]) -> int:
    if any(attribute.name == "sparse_value" for attribute in node.attribute):
        raise ValueError("sparse tensors are not read")
    return sum(attribute.ByteSize() for attribute in node.attribute)


def _of_shape(_: Any, arguments: list[NDArray[Any]]) -> int:
    return math.prod(_integers(arguments[0]))


def _expanded(_: Any, arguments: list[NDArray[Any]]) -> int:
    return math.prod(np.broadcast_shapes(arguments[0].shape, tuple(_integers(arguments[1]))))


def _tiled(_: Any, arguments: list[NDArray[Any]]) -> int:
    return arguments[0].size * math.prod(_integers(arguments[1]))


def _counted(_: Any, arguments: list[NDArray[Any]]) -> int:
    start, limit, delta = (float(a) for a in arguments)
    return max(0, math.ceil((limit - start) / delta))


def _gathered(node: Any, arguments: list[NDArray[Any]]) -> Any:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return arguments[1].size * (arguments[0].size // max(1, arguments[0].shape[axis]))


def _product(_: Any, arguments: list[NDArray[Any]]) -> Any:
    a, b = (np.atleast_2d(value) for value in arguments[:2])
    outer = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    return outer * max(a.shape[-2:]) * max(b.shape[-2:])


def _integers(values: NDArray[Any]) -> Iterable[int]:
    return (int(value) for value in values.reshape(-1))


def _sizes(size: _Size, names: str) -> dict[str, _Size]:
    return dict.fromkeys(names.split(), size)


_SIZES = (
    _sizes(
        _as_inputs,
        "Shape Size Identity Cast CastLike Transpose Reshape Squeeze Unsqueeze Flatten Concat "
        "Split Slice Dropout DequantizeLinear QuantizeLinear ReverseSequence ScatterElements "
        "ScatterND ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 "
        "ReduceSumSquare",
    )
    | _sizes(
        _broadcast,
        "Add Sub Mul Div Neg Abs Sqrt Reciprocal Pow Exp Log Tanh Sigmoid Relu Min Max Where Equal "
        "Greater Less GreaterOrEqual LessOrEqual Not And Or Floor Ceil Round Sign Mod Clip",
    )
    | _sizes(_product, "MatMul Gemm")
    | {
        "Constant": _constant,
        "ConstantOfShape": _of_shape,
        "Expand": _expanded,
        "Tile": _tiled,
        "Range": _counted,
        "Gather": _gathered,
    }
)
"""The operators that are evaluated, with how many elements they make at most."""
