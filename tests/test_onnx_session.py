"""`rnnfast.onnx.Session` runs whole models as onnxruntime does, and names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx import helper, numpy_helper

import onnx_models
import rnnfast.onnx
from onnx_session_cases import RNG, One, assert_as_onnxruntime, build, ints, number, reals
from rnnfast.onnx.session.call import MOST_SHAPES, Shaped


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


def test_sequences_of_many_lengths_fill_no_memory() -> None:
    layer = rnnfast.GRU(2, 3, seed=1).eval()
    session = rnnfast.onnx.Session(rnnfast.onnx.to_model(layer, lengths=True, portable=True))
    h = np.zeros((1, 1, 3), np.float32)
    for seq_len in range(1, 200):
        x, lengths = reals(seq_len, 1, 2), np.array([seq_len], np.int32)
        y, _ = session.run(None, {"x": x, "lengths": lengths, "h0": h})
        np.testing.assert_array_equal(y, layer(x)[0])
    assert len(session._graph._plans) <= MOST_SHAPES
    kept = [node.prepared[1] for node in session._graph._block.nodes if node.prepared]
    shaped = [operation for operation in kept if isinstance(operation, Shaped)]
    assert shaped
    assert all(len(operation._prepared) <= MOST_SHAPES for operation in shaped)


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


def test_arguments_of_another_kind_are_named() -> None:
    session = rnnfast.onnx.Session(rnnfast.onnx.to_model(rnnfast.GRU(2, 3)))
    inputs = {"x": np.zeros((2, 1, 2), np.float32), "h0": np.zeros((1, 1, 3), np.float32)}
    for names in ("y", 3):
        with pytest.raises(
            TypeError, match=r"^output_names: expected a list of names or None, got"
        ):
            session.run(names, inputs)  # type: ignore[arg-type]
    for wrong in (None, list(inputs.values())):
        with pytest.raises(TypeError, match=r"^inputs: expected Mapping, got"):
            session.run(None, wrong)  # type: ignore[arg-type]


def test_a_result_that_does_not_fit_into_memory() -> None:
    session = rnnfast.onnx.Session(rnnfast.onnx.to_model(rnnfast.GRU(2, 3)))
    x = np.broadcast_to(np.float32(0), (2**45, 1, 2))
    with pytest.raises(MemoryError, match=r"^GRU node .* cannot be computed"):
        session.run(None, {"x": x, "h0": np.zeros((1, 1, 3), np.float32)})
