"""Plans: the operations that a graph needs for inputs of given shapes, in order.

A plan is made by running the graph once. What depends on constants and shapes alone is not computed
again, and an `If` on such a condition disappears. Values that depend on constants alone, and what
operations prepare from them, such as packed weights, are kept with the nodes for all plans.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from rnnfast.onnx.operators import elements, is_evaluated
from rnnfast.onnx.session.block import Block, Node
from rnnfast.onnx.session.call import MOST_SHAPES, Array, Call, Operation, Shaped
from rnnfast.onnx.session.operations import OPERATIONS, PASSING, deciding
from rnnfast.onnx.values import Kind


class Value(NamedTuple):
    """A value while a plan is made.

    Attributes:
        array: The value in the run that makes the plan.
        kind: What it depends on.
        sized: Whether its shape depends on constants and shapes alone.
        slot: Its place among the values of the plan.
    """

    array: Array
    kind: Kind
    sized: bool
    slot: int


class Limits(NamedTuple):
    """What all graphs of a model share.

    Attributes:
        opsets: The versions of the operator sets by domain.
        elements: The most elements of a value, besides `factor` for each element of the inputs.
        factor: See above.
    """

    opsets: Mapping[str, int]
    elements: int
    factor: int = 4096


class PlannedGraph:
    """A graph as a function of its inputs, with a plan for each set of their shapes.

    Args:
        block: The graph.
        names: The values that calls pass: inputs of the graph, and values around it.
        around: Other values around it, which are the same in every call.
        limits: What all graphs of the model share.
    """

    def __init__(
        self, block: Block, names: Sequence[str], around: Mapping[str, Value], limits: Limits
    ) -> None:
        self._block, self._names, self._around, self._limits = block, names, around, limits
        self._plans: dict[Any, _Plan] = {}

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Return the outputs of the graph.

        Raises:
            ValueError: An operation fails; the message names its node.
        """
        key = tuple((a.shape, a.dtype) for a in arrays)
        plan = self._plans.get(key)
        if plan is not None:
            return plan(arrays)
        plan = _Plan(self._limits)
        given = dict(zip(self._names, arrays, strict=True))
        results = plan.make(self._block, given, self._around)
        if len(self._plans) >= MOST_SHAPES:
            self._plans = {}
        self._plans[key] = plan
        return results


class _Step(NamedTuple):
    operation: Operation
    inputs: Callable[[list[Any]], Any]  # from the values of a plan to the operation's arguments
    is_single: bool  # whether there is one argument
    outputs: list[int]  # slots
    label: str


class _Plan:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._values: list[Any] = [None]  # constants at their slots
        self._steps: list[_Step] = []
        self._inputs = range(0)
        self._outputs: list[int] = []

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        values = self._values.copy()
        for slot, array in zip(self._inputs, arrays, strict=True):
            values[slot] = array
        for operation, inputs, is_single, outputs, label in self._steps:
            try:
                arguments = inputs(values)
                results = operation(arguments) if is_single else operation(*arguments)
            except Exception as error:
                raise _failed(label, error) from error
            if type(results) is list:
                for slot, result in zip(outputs, results, strict=False):
                    values[slot] = result
            else:
                values[outputs[0]] = results
        return [values[slot] for slot in self._outputs]

    def make(
        self, block: Block, given: Mapping[str, Array], around: Mapping[str, Value]
    ) -> list[Array]:
        """Run the graph once and record its operations; return its outputs."""
        size = sum(array.size for array in given.values())
        self._most = self._limits.elements + self._limits.factor * size
        scope: ChainMap[str, Value] = ChainMap({})
        for name, value in around.items():
            scope[name] = self._new(value.array, value.kind)
        self._inputs = range(len(self._values), len(self._values) + len(given))
        for name, array in given.items():
            scope[name] = self._new(array, Kind.OPEN)
        outputs = self._trace(block, scope)
        self._outputs = [value.slot for value in outputs]
        return [value.array for value in outputs]

    def _new(self, array: Array, kind: Kind, sized: bool = True) -> Value:
        if kind != Kind.OPEN:
            array.setflags(write=False)
        self._values.append(None if kind == Kind.OPEN else array)
        return Value(array, kind, sized, len(self._values) - 1)

    def _trace(self, block: Block, scope: ChainMap[str, Value]) -> list[Value]:
        for name, array in block.constants.items():
            if name not in scope.maps[0]:  # an input may have a default
                scope[name] = self._new(array, Kind.CONSTANT)
        for node in block.nodes:
            if node.branches:
                self._choose(node, scope)
            else:
                self._run(node, scope)
        return [_find("the graph", name, scope) for name in block.outputs]

    def _run(self, node: Node, scope: ChainMap[str, Value]) -> None:
        inputs = [_find(node.label, n, scope) if n else None for n in node.proto.input]
        given = [value for value in inputs if value is not None]
        kind = max((value.kind for value in given), default=Kind.CONSTANT)
        arrays = [None if value is None else value.array for value in inputs]
        if node.results is not None and kind == Kind.CONSTANT:
            self._bind(node, node.results, scope, kind, True)
            return
        known = [None if v is None or v.kind == Kind.OPEN else v.array for v in inputs]
        try:
            if is_evaluated(node.proto):
                self._check_size(elements(node.proto, [v.array for v in given]))
            operation = self._prepared(node, known)
            results = operation(*arrays)
        except Exception as error:
            raise _failed(node.label, error) from error
        results = [np.asarray(r) for r in (results if type(results) is list else [results])]
        if node.key[1] in ("Shape", "Size") and given and given[0].sized:
            kind = min(kind, Kind.SHAPES)
        if kind == Kind.CONSTANT:
            node.results = results
        places = deciding(node.key[1], len(inputs))
        sized = all(v.sized for v in given) and not any(
            value is not None and value.kind == Kind.OPEN
            for value in (inputs[place] for place in places)
        )
        if node.key[1] in PASSING and inputs[0] is not None and results[0] is arrays[0]:
            scope[node.proto.output[0]] = inputs[0]
            return
        self._bind(node, results, scope, kind, sized)
        if kind == Kind.OPEN:
            self._record(node, operation, inputs, scope)

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise ValueError("its result is too large in relation to the file and its inputs")

    def _prepared(self, node: Node, known: list[Array | None]) -> Operation:
        """Return the operation of a node, which is made once for the same constants."""
        if node.prepared is not None:
            before, operation = node.prepared
            if all(a is b for a, b in zip(before, known, strict=True)):
                return operation
        operation = OPERATIONS[node.key](Call(node, known, self._limits.opsets.get(node.key[0], 1)))
        node.prepared = known, operation
        return operation

    def _choose(self, node: Node, scope: ChainMap[str, Value]) -> None:
        """Trace the branch of an `If`, or record both if the condition is not known."""
        condition = _find(node.label, node.proto.input[0], scope)
        branches = [node.branches[name] for name in ("else_branch", "then_branch")]
        if condition.array.size != 1:
            raise ValueError(f"{node.label}: expected one condition, got {condition.array.shape}")
        if condition.kind != Kind.OPEN:
            outputs = self._trace(branches[bool(condition.array)], scope.new_child())
            scope.update(zip(node.proto.output, outputs, strict=True))
            return
        free = set().union(*(block.free for block in branches))
        used = {name: _find(node.label, name, scope) for name in sorted(free)}
        open_names = [name for name, value in used.items() if value.kind == Kind.OPEN]
        known = {name: value for name, value in used.items() if value.kind != Kind.OPEN}
        graphs = [PlannedGraph(block, open_names, known, self._limits) for block in branches]

        def choose(condition: Array, *arrays: Array) -> list[Array]:
            return graphs[bool(condition)](arrays)

        inputs = [condition, *(used[name] for name in open_names)]
        results = choose(*(value.array for value in inputs))
        self._bind(node, results, scope, Kind.OPEN, False)
        self._record(node, choose, inputs, scope)

    def _bind(
        self,
        node: Node,
        results: Sequence[Array],
        scope: ChainMap[str, Value],
        kind: Kind,
        sized: bool,
    ) -> None:
        names = node.proto.output
        if len(results) < len(names):
            raise ValueError(f"{node.label}: expected {len(results)} outputs, got {len(names)}")
        for name, result in zip(names, results, strict=False):
            scope[name] = self._new(result, kind, sized)

    def _record(
        self,
        node: Node,
        operation: Operation,
        inputs: Sequence[Value | None],
        scope: ChainMap[str, Value],
    ) -> None:
        first = inputs[0] if inputs else None
        if isinstance(operation, Shaped) and first is not None and first.sized:
            operation, inputs = operation.at(first.array.shape), inputs[:1]
        slots = [0 if value is None else value.slot for value in inputs]  # None is in slot 0
        outputs = [scope[name].slot for name in node.proto.output]
        get = itemgetter(*slots)
        self._steps.append(_Step(operation, get, len(slots) == 1, outputs, node.label))


def _find(label: str, name: str, scope: ChainMap[str, Value]) -> Value:
    if name not in scope:
        raise ValueError(f"{label}: expected a value {name!r}, which the model does not define")
    return scope[name]


def _failed(label: str, error: Exception) -> Exception:
    text = str(error)
    kind = MemoryError if isinstance(error, MemoryError) else ValueError
    return kind(text if label in text else f"{label} cannot be computed: {text}")
