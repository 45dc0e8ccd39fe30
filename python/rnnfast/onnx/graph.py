"""The recurrent nodes of an ONNX model, at any depth, and what is known about their inputs."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx
from numpy.typing import NDArray
from onnx import helper

from rnnfast.onnx.functions import inlined
from rnnfast.onnx.leaves import INPUT, ZERO, leaves_of
from rnnfast.onnx.operators import DOMAINS
from rnnfast.onnx.quantized import dequantized
from rnnfast.onnx.shapes import OfShapes, Shapes, opset_versions
from rnnfast.onnx.values import (
    Kind,
    Makers,
    Values,
    describe,
    inner_graphs,
    stored,
    with_makers,
)

OP_TYPES = ("LSTM", "GRU", "RNN")
WEIGHTS = ("W", "R", "B", "P")
_STATES = ("initial_h", "initial_c")
_RECURRENT = re.compile("lstm|gru|rnn", re.IGNORECASE)


class Inputs(NamedTuple):
    """What is known about the inputs of an operator other than X, by their names in ONNX.

    Attributes:
        constants: Those that do not depend on the model's inputs. Initial states that are always
            zero are left out, as they are the default.
        shaped: Those that depend only on the shape of X.
        computed: Those that other nodes compute, with the reason why they cannot be evaluated.
            Inputs of the graph, possibly rearranged, are in none of the three.
    """

    constants: dict[str, NDArray[Any]]
    shaped: dict[str, OfShapes]
    computed: dict[str, str]


class Found(NamedTuple):
    """A recurrent node.

    Attributes:
        node: The node itself.
        label: "LSTM node 'name'", for messages.
        inputs: What is known about its inputs.
        attributes: Its attributes as Python values; strings are decoded.
        branches: The branches and bodies that contain it, from the outermost to the innermost.
        values: The values of the graph that contains it.
    """

    node: Any
    label: str
    inputs: Inputs
    attributes: dict[str, Any]
    branches: tuple[str, ...]
    values: Values


def recurrent_nodes(model: Any) -> tuple[list[Found], Shapes]:
    """Return all LSTM, GRU and RNN nodes of a model in order, and the shapes of its values.

    The search includes branches and bodies of control flow at their places, and functions of the
    model at their calls.

    Raises:
        ValueError: Some recurrent operators cannot be read; the message names all of them.
    """
    model = dequantized(inlined(model))
    shapes = Shapes(model)
    search = _Search(model, shapes)
    found = list(search.graph(model.graph, ChainMap(), ()))
    if search.unread:
        raise ValueError(
            f"source: expected only the recurrent operators of ONNX itself, {', '.join(OP_TYPES)}, "
            f"got {', '.join(search.unread)}; a model is read completely or not at all; export it "
            "without quantisation and without operators of a particular runtime"
        )
    return found, shapes


class _Search:
    """A walk through the graphs of a model.

    Attributes:
        unread: Recurrent operators that are not ONNX's.
    """

    def __init__(self, model: Any, shapes: Shapes) -> None:
        self.unread: list[str] = []
        self._shapes = shapes
        self._opsets = opset_versions(model.opset_import)
        self._limit = 2**20 + 8 * stored(model.graph)

    def graph(self, graph: Any, outer: Makers, branches: tuple[str, ...]) -> Iterator[Found]:
        makers = with_makers(outer, graph)
        values = Values(makers, self._opsets, self._limit)
        for node in graph.node:
            if node.op_type in OP_TYPES and node.domain in DOMAINS:
                yield self._found(node, values, branches)
            elif _RECURRENT.search(f"{node.op_type} {_aten_operator(node)}"):
                self.unread.append(f"{node.domain or 'ai.onnx'}.{describe(node)}")
            for attribute in node.attribute:
                for inner in inner_graphs(attribute):
                    place = f"{attribute.name} of {describe(node)}"
                    yield from self.graph(inner, makers, (*branches, place))

    def _found(self, node: Any, values: Values, branches: tuple[str, ...]) -> Found:
        formal = [f.name for f in onnx.defs.get_schema(node.op_type).inputs]
        label = describe(node)
        if not 3 <= len(node.input) <= len(formal):
            raise ValueError(f"{label}: expected 3 to {len(formal)} inputs, got {len(node.input)}")
        attributes = {a.name: plain(helper.get_attribute_value(a)) for a in node.attribute}
        inputs = Inputs({}, {}, {})
        for name, value in zip(formal[1:], node.input[1:], strict=False):
            if value:
                try:
                    self._classify(name, value, node.input[0], values, inputs)
                except ValueError as error:
                    raise ValueError(f"{label}: input {name}: {error}") from error
        return Found(node, label, inputs, attributes, branches, values)

    def _classify(self, name: str, value: str, x: str, values: Values, inputs: Inputs) -> None:
        """Add an input of an operator to one of the kinds of `inputs`."""
        leaves = set() if name in WEIGHTS else leaves_of(value, values.makers)
        if name in _STATES and leaves == {ZERO}:
            return  # whatever their shape in the file, which is that of the batch used for export
        kind = values.kind(value)
        if kind == Kind.CONSTANT:
            inputs.constants[name] = values.evaluate(value)
        elif kind == Kind.SHAPES:
            try:
                inputs.shaped[name] = OfShapes(values, value, x, self._shapes)
            except ValueError as error:
                inputs.computed[name] = str(error)
        elif name in WEIGHTS or not leaves <= {ZERO, INPUT}:
            source = values.describe(min(values.open_sources(value), default=value))
            inputs.computed[name] = f"it depends on {source}"


def _aten_operator(node: Any) -> str:
    """Return the PyTorch operator of a node, which its exporter writes if ONNX has no operator."""
    names = (a.s.decode(errors="replace") for a in node.attribute if a.name == "operator")
    return next(names, "") if node.op_type == "ATen" else ""


def plain(value: Any) -> Any:
    """Return the value of an attribute with strings decoded."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
