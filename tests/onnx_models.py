"""Build ONNX models of one recurrent operator with random weights, and run models in onnxruntime.

The tests of `rnnfast.onnx` use this module, which needs onnx and onnxruntime.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import cases
from rnnfast import reference
from rnnfast.functional import Weights
from rnnfast.onnx import RecurrentNode

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
CONSTANTS = ("W", "R", "B", "P")


@dataclass(frozen=True)
class Operator:
    """An operator with its sizes and the inputs that it has."""

    op_type: str
    direction: str = "forward"
    T: int = 7
    B: int = 5
    I: int = 6
    H: int = 9
    bias: bool = True
    peepholes: bool = False
    lengths: bool = False
    states: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        flags = [n for n in ("bias", "peepholes", "lengths", "states") if getattr(self, n)]
        attributes = [f"{name}={value}" for name, value in self.attributes.items()]
        sizes = f"T{self.T}B{self.B}I{self.I}H{self.H}"
        return "-".join([self.op_type, self.direction, sizes, *flags, *attributes])

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    @property
    def outputs(self) -> list[str]:
        return ["Y", "Y_h", "Y_c"][: 3 if self.op_type == "LSTM" else 2]


class Built(NamedTuple):
    """A model with its weights as initializers, and values for its inputs."""

    model: Any
    feeds: dict[str, NDArray]


def arrays(operator: Operator) -> dict[str, NDArray]:
    """Return random values for all inputs of an operator."""
    rng = np.random.default_rng(zlib.crc32(str(operator).encode()))
    o, D, rows = operator, operator.directions, GATES[operator.op_type] * operator.H

    def reals(*shape: int, scale: float = 0.5) -> NDArray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    values = {
        "X": reals(o.T, o.B, o.I, scale=1),
        "W": reals(D, rows, o.I),
        "R": reals(D, rows, o.H),
    }
    if o.bias:
        values["B"] = reals(D, 2 * rows)
    if o.peepholes:
        values["P"] = reals(D, 3 * o.H)
    if o.lengths:  # no sequence is empty, as onnxruntime returns zeros as the states of empty ones
        values["sequence_lens"] = rng.permutation([o.T, 1, *rng.integers(1, o.T + 1, o.B - 2)])
        values["sequence_lens"] = values["sequence_lens"].astype(np.int32)
    if o.states:
        values["initial_h"] = reals(D, o.B, o.H)
        if o.op_type == "LSTM":
            values["initial_c"] = reals(D, o.B, o.H)
    return values


def build(operator: Operator, constants: Sequence[str] = CONSTANTS) -> Built:
    """Build a model of the operator in which the inputs named are constants."""
    values = arrays(operator)
    names = [name if name in values else "" for name in INPUTS]
    while not names[-1]:
        names.pop()
    node = helper.make_node(
        operator.op_type,
        names,
        operator.outputs,
        name="the_node",
        hidden_size=operator.H,
        direction=operator.direction,
        **operator.attributes,
    )
    feeds = {name: value for name, value in values.items() if name not in constants}
    initializers = {name: value for name, value in values.items() if name in constants}
    return Built(model([node], feeds, operator.outputs, initializers), feeds)


def model(
    nodes: list[Any],
    feeds: Mapping[str, NDArray],
    outputs: Sequence[str],
    initializers: Mapping[str, NDArray],
) -> Any:
    """Build a model of nodes, from the inputs in the feeds to outputs of reals."""

    def info(name: str, dtype: Any, shape: Sequence[int | None]) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "graph",
        [info(name, value.dtype, value.shape) for name, value in feeds.items()],
        [info(name, np.float32, [None] * (3 if "_" in name else 4)) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_onnxruntime(
    model: Any, feeds: Mapping[str, NDArray], outputs: Sequence[str]
) -> dict[str, NDArray]:
    return dict(zip(outputs, session(model).run(outputs, dict(feeds)), strict=True))


def run_node(node: RecurrentNode, feeds: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return the node's results by their ONNX names, for inputs given by their ONNX names."""
    given = {name: value for name, value in feeds.items() if name != "X"}
    return dict(zip(("Y", "Y_h", "Y_c"), node(feeds["X"], **given), strict=False))


def assert_near(
    got: Mapping[str, NDArray],
    peer: Mapping[str, NDArray],
    node: RecurrentNode,
    feeds: Mapping[str, NDArray],
) -> None:
    """Check results against a peer, which has errors as well, and against the float64 reference."""
    exact = _exact(node, feeds)
    with mock.patch.object(
        reference, "Network", functools.partial(reference.Network, dtype=np.float32)
    ):
        plain = run_node(_in_reference(node), feeds)
    errors = {name: cases.worst(plain[name], values) for name, values in exact.items()}
    task = cases.Task("float32", max(node.input_size, node.hidden_size))
    cases.assert_close(got, exact, errors, task)
    cases.assert_close(got, peer, {name: 2 * error for name, error in errors.items()}, task)


def _in_reference(node: RecurrentNode, dtype: Any = np.float32) -> RecurrentNode:
    """Run the node in the NumPy reference, with weights of the given type."""
    directions = [
        replace(
            d,
            weights=Weights(*(None if w is None else w.astype(dtype) for w in d.weights)),
            variant=d.variant or reference.CELLS[d.cell],
        )
        for d in node.directions
    ]
    constants = {
        n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in node.constants.items()
    }
    return replace(node, directions=tuple(directions), constants=constants)


def _exact(node: RecurrentNode, feeds: Mapping[str, NDArray]) -> dict[str, NDArray]:
    wide = {n: v.astype(np.float64) if v.dtype == np.float32 else v for n, v in feeds.items()}
    return run_node(_in_reference(node, np.float64), wide)
