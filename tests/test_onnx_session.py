"""`rnnfast.onnx.Session` computes what onnxruntime computes, operator by operator and together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx import TensorProto, helper, numpy_helper

import onnx_models
import rnnfast.onnx
from rnnfast.onnx.session.operations import OPERATIONS

RNG = np.random.default_rng(1)


def reals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(reals(*shape)) + np.float32(0.1)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def flags(*shape: int) -> np.ndarray:
    return RNG.random(shape) < 0.5


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


@dataclass
class One:
    """A node with its inputs; None stands for one that is absent.

    Attributes:
        terms: How many terms the sums in a result have.
        only_constants: Whether onnxruntime requires all inputs but the first to be constants.
    """

    op_type: str
    inputs: list[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    terms: int = 0
    only_constants: bool = False

    def __str__(self) -> str:
        shapes = ["none" if x is None else "x".join(map(str, x.shape)) for x in self.inputs]
        parts = [self.op_type, str(self.opset), *shapes, *map(str, self.attributes.items())]
        return "-".join(parts).replace(" ", "")


def same(op_types: str, *makers: Callable[[], np.ndarray]) -> list[One]:
    return [One(op_type, [make() for make in makers]) for op_type in op_types.split()]


X = reals(2, 3, 4)
BYTES = RNG.integers(0, 255, (2, 6), np.uint8)
SIGNED = RNG.integers(-128, 127, (6, 5)).astype(np.int8)
ONES = [
    *same("Abs Ceil Cos Exp Floor Identity Neg Round Sign Sin Tanh Sigmoid Relu Erf", lambda: X),
    *same("Elu HardSigmoid LeakyRelu Softplus Softsign Flatten Transpose", lambda: X),
    *same("Shape Size Dropout ArgMax ArgMin Softmax LogSoftmax GlobalAveragePool", lambda: X),
    *same("ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum", lambda: X),
    *same("ReduceProd ReduceSumSquare", lambda: X),
    *same("Sqrt Log Reciprocal", lambda: positive(3, 4)),
    *same("Add Sub Mul Div Max Min Sum", lambda: X, lambda: reals(3, 1)),
    *same("Equal Greater GreaterOrEqual Less LessOrEqual", lambda: X, lambda: X.round()),
    *same("And Or Xor", lambda: flags(2, 3), lambda: flags(3)),
    *same("Not", lambda: flags(2, 3)),
    One("Add", [np.array([[1, 2]]), ints(3, 4)]),
    One("ArgMax", [X.round()], {"axis": -1, "keepdims": 0, "select_last_index": 1}),
    One("AveragePool", [X], {"kernel_shape": [2], "pads": [1, 0]}),
    One("AveragePool", [X], {"kernel_shape": [2], "pads": [1, 0], "count_include_pad": 1}),
    One("BatchNormalization", [X, reals(3), reals(3), reals(3), positive(3)], {"epsilon": 0.01}),
    One("Cast", [X * 5], {"to": TensorProto.INT64}),
    One("Cast", [X], {"to": TensorProto.FLOAT}),
    One("Clip", [X, number(-0.5), number(0.3)]),
    One("Clip", [X, None, number(0.3)]),
    One("Clip", [X], {"min": -0.5, "max": 0.4}, opset=10),
    One("Concat", [X, reals(2, 1, 4), X], {"axis": -2}),
    One("ConstantOfShape", [ints(2, 3)]),
    One("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(np.array([7]))}),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4), reals(5)], {"pads": [1, 2]}, terms=12),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 3)], {"strides": [2], "dilations": [2]}, terms=9),
    One("Conv", [reals(2, 4, 9), reals(6, 2, 3), reals(6)], {"group": 2}, terms=6),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4)], {"auto_pad": "SAME_UPPER"}, terms=12),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4)], {"auto_pad": "SAME_LOWER"}, terms=12),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4)], {"auto_pad": "VALID"}, terms=12),
    One("Conv", [reals(1, 3, 7, 8), reals(4, 3, 3, 2), reals(4)], {"pads": [1, 0, 1, 1]}, terms=18),
    One("Conv", [reals(1, 3, 7, 8), reals(4, 3, 3, 3)], {"strides": [2, 3]}, terms=27),
    One("ConvInteger", [BYTES[:, None], SIGNED[:, None, :3], BYTES[0, 0]], {"pads": [1, 1]}, 10),
    One("DequantizeLinear", [SIGNED, number(0.3), np.int8(3)], only_constants=True),
    One("DequantizeLinear", [SIGNED, positive(5), SIGNED[0]], {"axis": 1}, only_constants=True),
    One("Div", [np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])]),
    One("Div", [np.array([7, 8], np.uint8), np.array([2, 3], np.uint8)]),
    One("DynamicQuantizeLinear", [X], opset=11, outputs=3),
    One("DynamicQuantizeLinear", [np.zeros((2, 2), np.float32)], opset=11, outputs=3),
    One("Elu", [X], {"alpha": 0.4}),
    One("Expand", [reals(3, 1), ints(2, 1, 4)]),
    One("Flatten", [X], {"axis": -1}),
    One("Flatten", [X], {"axis": 0}),
    One("Gather", [X, np.array([[0, -1], [2, 1]])], {"axis": 1}),
    One("Gather", [X, np.array(1)]),
    One("GatherElements", [X, RNG.integers(0, 3, (2, 3, 4))], {"axis": 1}),
    One("Gelu", [X], opset=20),
    One("Gelu", [X], {"approximate": "tanh"}, opset=20),
    One("Gemm", [reals(4, 5), reals(5, 6), reals(6)], terms=5),
    One("Gemm", [reals(4, 5), reals(6, 5), reals(1, 6)], {"transB": 1}, terms=5),
    One("Gemm", [reals(4, 5), reals(6, 5), reals(4, 6)], {"transB": 1, "beta": 0.5}, terms=5),
    One("Gemm", [reals(5, 4), reals(5, 6)], {"transA": 1, "alpha": 2.0}, terms=5),
    One("HardSigmoid", [X], {"alpha": 0.3, "beta": 0.6}),
    One("LayerNormalization", [X, reals(4), reals(4)], {"epsilon": 0.01}, terms=4),
    One("LayerNormalization", [X, reals(3, 4)], {"axis": 1}, terms=12),
    One("LogSoftmax", [X], {"axis": 1}, opset=12),
    One("MatMul", [X, reals(4, 5)], terms=4),
    One("MatMul", [reals(4), reals(4, 5)], terms=4),
    One("MatMul", [X, reals(2, 4, 5)], terms=4),
    One("MatMulInteger", [BYTES, SIGNED, BYTES[0, 0], np.int8(3)], opset=10),
    One("MatMulInteger", [BYTES, SIGNED], opset=10),
    One("MaxPool", [reals(2, 3, 9, 8)], {"kernel_shape": [3, 2], "strides": [2, 1]}),
    One("MaxPool", [X], {"kernel_shape": [3], "pads": [1, 1], "dilations": [1]}),
    One("Mod", [X * 9, reals(3, 4)], {"fmod": 1}),
    One("Mod", [ints(7, -7, 7, -7), ints(3, 3, -3, -3)]),
    One("PRelu", [X, reals(3, 1)]),
    One("Pad", [X, ints(0, 1, 2, 1, 0, 0), number(0.5)]),
    One("Pad", [X, ints(0, -1, 2, 0, 0, -1)]),
    One("Pad", [X, ints(0, 1, 2, 0, 0, 3)], {"mode": "reflect"}),
    One("Pad", [X, ints(0, 1, 2, 1, 0, 3)], {"mode": "edge"}),
    One("Pad", [X, ints(2, 1), None, ints(-1)]),
    One("Pad", [X], {"pads": [0, 0, 1, 0, 0, 2], "value": 1.5}, opset=10),
    One("Pow", [positive(3, 4), number(2)]),
    One("Pow", [positive(3, 4), np.array(3)]),
    One("QuantizeLinear", [X * 40, number(0.3), np.int8(3)], only_constants=True),
    One("QuantizeLinear", [X, positive(3), np.uint8([1, 2, 3])], {"axis": 1}, only_constants=True),
    One("Range", [ints(3)[0], ints(20)[0], ints(4)[0]]),
    One("ReduceMax", [X], {"axes": [0, -1], "keepdims": 0}, opset=17),
    One("ReduceMean", [X], {"axes": [1]}, opset=17),
    One("ReduceMean", [X, ints(-1)]),
    One("ReduceSum", [X, ints(0, 2)], {"keepdims": 0}),
    One("ReduceSum", [X], {"noop_with_empty_axes": 1}),
    One("Reshape", [X, ints(0, -1)]),
    One("Reshape", [np.zeros((2, 0, 3), np.float32), ints(0, 5)], {"allowzero": 1}),
    One("ReverseSequence", [X, ints(1, 0, 2)]),
    One("ReverseSequence", [X, ints(3, 2)], {"batch_axis": 0, "time_axis": 1}),
    One("Shape", [X], {"start": -2, "end": -1}),
    One("Slice", [X, ints(1, 3), ints(2**62, -(2**62)), ints(1, -1), ints(1, -2)]),
    One("Slice", [X, ints(-1), ints(1), ints(2), ints(-1)]),
    One("Slice", [X], {"starts": [0, 1], "ends": [1, -1], "axes": [0, 2]}, opset=9),
    One("Softmax", [X], {"axis": 1}),
    One("Softmax", [X], opset=11),
    One("Split", [X, ints(1, 2)], {"axis": 1}, outputs=2),
    One("Split", [X], {"axis": 1, "num_outputs": 2}, outputs=2),
    One("Split", [X], {"axis": -1, "split": [1, 3]}, opset=11, outputs=2),
    One("Squeeze", [reals(1, 3, 1)]),
    One("Squeeze", [reals(1, 3, 1), ints(-1)]),
    One("Squeeze", [reals(1, 3, 1)], {"axes": [0]}, opset=11),
    One("Tile", [X, ints(2, 1, 3)]),
    One("Transpose", [X], {"perm": [2, 0, 1]}),
    One("Unsqueeze", [X, ints(0, -1)]),
    One("Unsqueeze", [X], {"axes": [1]}, opset=11),
    One("Where", [flags(2, 1), reals(3), reals(2, 3)]),
]


def build(one: One, constants: bool) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a model of a node, and its inputs; all but the first may be constants."""
    names = ["" if x is None else f"in{k}" for k, x in enumerate(one.inputs)]
    values = {n: np.asarray(x) for n, x in zip(names, one.inputs, strict=True) if x is not None}
    kept = dict(itertools.islice(values.items(), 1, None)) if constants else {}
    outputs = [f"out{k}" for k in range(one.outputs)]
    node = helper.make_node(one.op_type, names, outputs, name="the_node", **one.attributes)
    feeds = {name: value for name, value in values.items() if name not in kept}
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    opset = helper.make_opsetid("", one.opset)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8), feeds


def assert_as_onnxruntime(model: Any, feeds: dict[str, np.ndarray], terms: int = 0) -> None:
    """Check two calls, of which the second follows the plan of the first."""
    expected = onnx_models.session(model).run(None, feeds)
    session = rnnfast.onnx.Session(model)
    for got in (session.run(None, feeds), session.run(None, feeds)):
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            assert ours.flags.c_contiguous
            assert ours.flags.writeable
            if ours.dtype.kind == "f":  # functions are exact to 8 ulp, sums to an ulp per term
                scale = max(1, np.abs(theirs).max(initial=0))
                bound = (8 + terms) * np.finfo(ours.dtype).eps * scale
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound)
            else:
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("one", "constants"),
    [(one, c) for one in ONES for c in (False, True) if c or not one.only_constants],
    ids=str,
)
def test_operators(one: One, constants: bool) -> None:
    assert_as_onnxruntime(*build(one, constants), one.terms)


def test_every_operator_has_a_test() -> None:
    tested = {one.op_type for one in ONES} | {"Constant", "LSTM", "GRU", "RNN"}
    assert tested == {op_type for _, op_type in OPERATIONS}


def graph_of(
    nodes: list[Any],
    feeds: dict[str, np.ndarray],
    outputs: list[str],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 18,
) -> Any:
    """Return a model whose inputs have variable sizes."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
            )
            for name, value in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    ids = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=ids, ir_version=8)


def branch(name: str, *nodes: Any) -> Any:
    output = helper.make_empty_tensor_value_info(nodes[-1].output[0])
    return helper.make_graph(list(nodes), name, [], [output])


def node(op_type: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs, [output], name=f"makes_{output}", **attributes)


NORMALISED = [
    node("Shape", ["x"], "shape"),
    node("Gather", ["shape", "one"], "width"),
    node("Equal", ["width", "one"], "is_narrow"),
    node(
        "If",
        ["is_narrow"],
        "y",
        then_branch=branch("narrow", node("Squeeze", ["x", "ones"], "narrow_y")),
        else_branch=branch("wide", node("ReduceMax", ["x"], "wide_y", axes=[1], keepdims=0)),
    ),
    node("Shape", ["y"], "y_shape"),
    node("Expand", ["y", "y_shape"], "again"),
]


@pytest.mark.parametrize("known", [True, False])
def test_branches(known: bool) -> None:
    """The condition follows from the shape, or from an input; both branches read outer values."""
    constants = {"one": np.array(1), "ones": ints(1)}
    nodes = NORMALISED[2 * (not known) :][: 6 if known else 4]
    if not known:
        nodes = [node("Equal", ["flag", "one"], "is_narrow"), *NORMALISED[3:]]
    for x in (reals(3, 1), reals(3, 4), reals(5, 4), reals(2, 1)):
        feeds = {"x": x} | ({} if known else {"flag": np.array(x.shape[1])})
        model = graph_of(nodes, feeds, ["y", "again"], constants, opset=17)
        assert_as_onnxruntime(model, feeds)
    session = rnnfast.onnx.Session(graph_of(nodes, feeds, ["again"], constants, opset=17))
    for x in (reals(3, 1), reals(3, 4), reals(3, 1), reals(5, 4)):
        feeds = {"x": x} | ({} if known else {"flag": np.array(x.shape[1])})
        (got,) = session.run(None, feeds)
        np.testing.assert_array_equal(got, x.max(1))


def test_an_if_of_values_runs_the_branch_of_each_call() -> None:
    """Both branches have results of another shape, on which a later operator depends."""
    nodes = [
        node(
            "If",
            ["flag"],
            "y",
            then_branch=branch("then", node("Identity", ["x"], "then_y")),
            else_branch=branch("else", node("Concat", ["x", "x"], "else_y", axis=0)),
        ),
        node("Shape", ["y"], "shape"),
        node("ConstantOfShape", ["shape"], "zeros"),
        node("Sub", ["zeros", "y"], "negative"),
    ]
    x = reals(2, 3)
    session = rnnfast.onnx.Session(graph_of(nodes, {"x": x, "flag": np.array(True)}, ["negative"]))
    for flag in (True, False, True):
        (got,) = session.run(["negative"], {"x": x, "flag": np.array(flag)})
        np.testing.assert_array_equal(got, -x if flag else -np.concatenate([x, x]))


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [False, True])
def test_recurrent_operators(op_type: str, direction: str, lengths: bool) -> None:
    operator = onnx_models.Operator(op_type, direction, lengths=lengths)
    model, feeds = onnx_models.build(operator)
    expected = onnx_models.session(model).run(None, feeds)
    session = rnnfast.onnx.Session(model)
    (loaded,) = rnnfast.onnx.load(model)
    for _ in range(2):
        got = session.run(None, feeds)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
        for ours, same_ours in zip(got, onnx_models.run_node(loaded, feeds).values(), strict=True):
            np.testing.assert_array_equal(ours, same_ours)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_an_lstm_that_onnxruntime_has_quantised(direction: str, tmp_path: Path) -> None:
    """Its weights are dequantised; onnxruntime also rounds x and h, by one scale for the batch."""
    from onnxruntime.quantization import quantize_dynamic

    model, feeds = onnx_models.build(onnx_models.Operator("LSTM", direction, I=24, H=16))
    exact = onnx_models.session(model).run(None, feeds)[0]
    onnx.save(model, tmp_path / "model.onnx")
    quantize_dynamic(tmp_path / "model.onnx", tmp_path / "quantised.onnx")
    quantised = onnx.load(tmp_path / "quantised.onnx")
    assert "DynamicQuantizeLSTM" in [node.op_type for node in quantised.graph.node]
    theirs = onnx_models.session(quantised).run(None, feeds)[0]
    (node,) = rnnfast.onnx.load(quantised)
    ours = rnnfast.onnx.Session(quantised).run(None, feeds)
    for got, expected in zip(ours, onnx_models.run_node(node, feeds).values(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert 0 < np.abs(ours[0] - exact).mean() < np.abs(theirs - exact).mean() < 0.05


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "rnn_relu"])
def test_exported_models_run_for_all_sizes(cell: str) -> None:
    layer = rnnfast.Recurrent(cell, 5, 9, 2, bidirectional=True, batch_first=True, seed=3).eval()
    session = rnnfast.onnx.Session(rnnfast.onnx.to_model(layer, lengths=True))
    names = [given.name for given in session.inputs if given.name.endswith("0")]
    for T, B in ((1, 1), (13, 2), (2, 7), (13, 2)):
        x, zeros = reals(B, T, 5), np.zeros((4, B, 9), np.float32)
        lengths = RNG.integers(0, T + 1, B).astype(np.int32)
        y, *_ = session.run(None, {"x": x, "lengths": lengths} | dict.fromkeys(names, zeros))
        np.testing.assert_array_equal(y, layer(x, None, lengths)[0])


def test_results_are_the_callers_own() -> None:
    """Not even an operator that returns its input, or a constant, lets a caller change either."""
    nodes = [
        node("Identity", ["x"], "same"),
        node("Transpose", ["x"], "turned"),
        node("Expand", ["weight", "shape"], "constant"),
    ]
    x, constants = reals(3, 3), {"weight": reals(3, 1), "shape": ints(3, 3)}
    before = x.copy()
    session = rnnfast.onnx.Session(
        graph_of(nodes, {"x": x}, ["same", "turned", "constant", "weight"], constants)
    )
    for _ in range(3):
        same, turned, constant, weight = session.run(None, {"x": x})
        np.testing.assert_array_equal(same, before)
        np.testing.assert_array_equal(turned, before.T)
        np.testing.assert_array_equal(constant, np.broadcast_to(constants["weight"], (3, 3)))
        np.testing.assert_array_equal(weight, constants["weight"])
        for array in (same, turned, constant, weight):
            array += 1
    np.testing.assert_array_equal(x, before)


def test_an_input_may_have_a_default() -> None:
    x = reals(3)
    model = graph_of(
        [node("Add", ["x", "b"], "y")], {"x": x, "b": x}, ["y"], {"b": number(2)[None]}
    )
    session = rnnfast.onnx.Session(model)
    assert [given.name for given in session.inputs] == ["x", "b"]
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + 2)
    np.testing.assert_array_equal(session.run(None, {"x": x, "b": x})[0], x + x)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + 2)


def test_errors_name_what_is_wrong() -> None:
    x = reals(2, 3)
    model, _ = build(One("MatMul", [x, reals(3, 4)]), constants=True)
    session = rnnfast.onnx.Session(model)
    with pytest.raises(TypeError, match="in0: expected dtype float32, got float64"):
        session.run(None, {"in0": x.astype(np.float64)})
    with pytest.raises(ValueError, match=r"in0: expected shape \(2, 3\), got \(3, 3\)"):
        session.run(None, {"in0": reals(3, 3)})
    with pytest.raises(ValueError, match="expected a value for 'in0', got none"):
        session.run(None, {})
    with pytest.raises(ValueError, match=r"inputs: expected names from \['in0'\], got \['x'\]"):
        session.run(None, {"in0": x, "x": x})
    with pytest.raises(ValueError, match=r"output_names: expected names from \['out0'\]"):
        session.run(["y"], {"in0": x})
    wrong = graph_of([node("MatMul", ["x", "w"], "y")], {"x": x}, ["y"], {"w": reals(4, 5)})
    with pytest.raises(
        ValueError, match="MatMul node 'makes_y' cannot be computed: expected x with"
    ):
        rnnfast.onnx.Session(wrong).run(None, {"x": x})
    unknown = [node("Loop", ["n", ""], "y", body=branch("body", node("Neg", ["x"], "z")))]
    unknown += [helper.make_node("Magic", ["y"], ["z"], domain="com.somebody")]
    with pytest.raises(
        ValueError, match=r"operators that a session runs, got Loop, com\.somebody\.Magic"
    ):
        rnnfast.onnx.Session(graph_of(unknown, {"x": x}, ["z"]))
    missing = graph_of([node("Neg", ["nothing"], "y")], {"x": x}, ["y"])
    with pytest.raises(ValueError, match="expected a value 'nothing', which the model does not"):
        rnnfast.onnx.Session(missing).run(None, {"x": x})
