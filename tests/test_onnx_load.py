"""`rnnfast.onnx.load`: operators of ONNX models give what onnxruntime makes of them."""

from __future__ import annotations

import inspect
import io
import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx import TensorProto, helper, numpy_helper

import cases
import onnx_models
import rnnfast.onnx
from onnx_models import Operator

DIRECTIONS = ("forward", "reverse", "bidirectional")
AFTER = {"linear_before_reset": 1}
ALPHAS = {
    "Affine": 0.7,
    "LeakyRelu": 0.1,
    "ThresholdedRelu": 0.3,
    "ScaledTanh": 0.9,
    "HardSigmoid": 0.3,
    "Elu": 0.6,
}
BETAS = {"Affine": 0.1, "ScaledTanh": 0.8, "HardSigmoid": 0.4}
ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", *ALPHAS)


def check(operator: Operator, *, kernels: bool) -> None:
    built = onnx_models.build(operator)
    (node,) = rnnfast.onnx.load(built.model)
    assert node.uses_kernels == kernels
    results = onnx_models.run_node(node, built.feeds)
    peer = onnx_models.run_onnxruntime(built.model, built.feeds, operator.outputs)
    onnx_models.assert_near(results, peer, node, built.feeds)


@pytest.mark.parametrize(
    "operator",
    [
        Operator(op_type, direction, H=hidden, lengths=lengths, bias=bias, states=states, **more)
        for (op_type, more), direction, hidden, lengths, (bias, states) in itertools.product(
            (
                ("LSTM", {}),
                ("LSTM", {"peepholes": True}),
                ("GRU", {}),
                ("GRU", {"attributes": AFTER}),
                ("RNN", {}),
            ),
            DIRECTIONS,
            (1, 9, 33),
            (False, True),
            ((True, True), (False, False)),
        )
    ],
    ids=str,
)
def test_cells_equal_onnxruntime(operator: Operator) -> None:
    check(operator, kernels=True)


@pytest.mark.parametrize("clip", [0.3, 1.5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("op_type", "more", "attributes"),
    [
        ("LSTM", {}, {}),
        ("LSTM", {"peepholes": True}, {}),
        ("LSTM", {"peepholes": True}, {"input_forget": 1}),
        ("GRU", {}, {}),
        ("GRU", {}, AFTER),
        ("RNN", {}, {}),
    ],
)
def test_clip_equals_onnxruntime(
    op_type: str, more: dict[str, Any], attributes: dict[str, int], bias: bool, clip: float
) -> None:
    attributes = attributes | {"clip": clip}
    operator = Operator(
        op_type, "bidirectional", lengths=True, bias=bias, attributes=attributes, **more
    )
    check(operator, kernels=False)
    long_and_one_way = replace(operator, direction="forward", T=40, lengths=False)
    check(long_and_one_way, kernels=False)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("peepholes", [False, True])
def test_input_forget_equals_onnxruntime(direction: str, peepholes: bool) -> None:
    check(
        Operator("LSTM", direction, peepholes=peepholes, attributes={"input_forget": 1}),
        kernels=False,
    )


def with_parameters(*names: str) -> dict[str, Any]:
    """Attributes that name functions and give those with parameters values."""
    attributes: dict[str, Any] = {"activations": list(names)}
    for key, values in (("activation_alpha", ALPHAS), ("activation_beta", BETAS)):
        if chosen := [values[name] for name in names if name in values]:
            attributes[key] = chosen
    return attributes


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    ("op_type", "functions", "more"),
    [
        ("RNN", ("*",), {}),
        ("GRU", ("*", "Tanh"), {}),
        ("GRU", ("HardSigmoid", "*"), {}),
        ("GRU", ("Sigmoid", "*"), AFTER),
        ("LSTM", ("*", "Tanh", "ScaledTanh"), {}),
        ("LSTM", ("HardSigmoid", "*", "Tanh"), {}),
        ("LSTM", ("Sigmoid", "ScaledTanh", "*"), {}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_activations_equal_onnxruntime(
    op_type: str, functions: tuple[str, ...], more: dict[str, int], name: str
) -> None:
    chosen = tuple(name if f == "*" else f for f in functions)
    plain = {
        "RNN": (("Tanh",), ("Relu",)),
        "GRU": (("Sigmoid", "Tanh"),),
        "LSTM": (("Sigmoid", "Tanh", "Tanh"),),
    }
    check(
        Operator(op_type, attributes=with_parameters(*chosen) | more, T=4),
        kernels=chosen in plain[op_type],
    )


@pytest.mark.parametrize("name", ["LeakyRelu", "HardSigmoid", "Elu"])
def test_defaults_of_activations_equal_onnxruntime(name: str) -> None:
    check(Operator("RNN", attributes={"activations": [name]}), kernels=False)


def test_directions_have_activations_of_their_own() -> None:
    names = ("HardSigmoid", "Tanh", "LeakyRelu", "Sigmoid", "Elu", "tanh")
    attributes = with_parameters(*names)
    check(Operator("LSTM", "bidirectional", attributes=attributes), kernels=False)
    check(Operator("RNN", "bidirectional", attributes={"activations": ["Relu", "Tanh"]}),
          kernels=True)  # fmt: skip
    half = {"activations": ["Sigmoid", "Tanh", "Sigmoid", "Relu"]}
    check(Operator("GRU", "bidirectional", attributes=half), kernels=False)


def project_cases() -> list[Any]:
    """The ONNX project's own tests of the operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other operators' cases
        from onnx.backend.test.case.node import collect_testcases

        found = [c for op in ("LSTM", "GRU", "RNN") for c in collect_testcases(op)]
    return [c for c in found if c.model.graph.node[0].op_type in ("LSTM", "GRU", "RNN")]


@pytest.mark.parametrize("case", project_cases(), ids=lambda case: case.name)
def test_passes_the_onnx_projects_tests(case: Any) -> None:
    graph, ((inputs, outputs),) = case.model.graph, case.data_sets
    values = dict(zip([i.name for i in graph.input], inputs, strict=True))
    x = values.pop(graph.node[0].input[0])
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
    (node,) = rnnfast.onnx.load(model)
    results = dict(zip(("Y", "Y_h", "Y_c"), node(x), strict=False))
    formal = onnx.defs.get_schema(node.op_type).outputs
    named = {name: f.name for f, name in zip(formal, graph.node[0].output, strict=False)}
    for output, expected in zip(graph.output, outputs, strict=True):
        got = results[named[output.name]]
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=case.rtol, atol=case.atol)


def test_there_are_tests_of_the_onnx_project() -> None:
    assert len(project_cases()) >= 18


@pytest.mark.parametrize("op_type", onnx_models.GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_layout_1_is_batch_first(op_type: str, direction: str) -> None:
    """onnxruntime refuses it, so the operator is held to itself in layout 0."""
    operator = Operator(op_type, direction, lengths=True)
    built = onnx_models.build(operator)
    (node,) = rnnfast.onnx.load(built.model)
    expected = onnx_models.run_node(node, built.feeds)
    attribute = helper.make_attribute("layout", 1)
    built.model.graph.node[0].attribute.append(attribute)
    (turned,) = rnnfast.onnx.load(built.model)
    assert turned.batch_first
    swapped = {n: v if v.ndim == 1 else v.swapaxes(0, 1) for n, v in built.feeds.items()}
    results = onnx_models.run_node(turned, swapped)
    assert results["Y"].shape == (operator.B, operator.T, operator.directions, operator.H)
    back = {"Y": results["Y"].transpose(1, 2, 0, 3)}
    back |= {n: results[n].swapaxes(0, 1) for n in operator.outputs[1:]}
    cases.assert_identical(back, expected)


@pytest.mark.parametrize("op_type", onnx_models.GATES)
def test_constant_inputs_are_used_and_can_be_replaced(op_type: str) -> None:
    operator = Operator(op_type, "bidirectional", lengths=True)
    (open_node,) = rnnfast.onnx.load(onnx_models.build(operator).model)
    (node,) = rnnfast.onnx.load(onnx_models.build(operator, onnx_models.INPUTS[1:]).model)
    feeds = onnx_models.build(operator).feeds
    x = {"X": feeds["X"]}
    assert sorted(node.constants) == sorted(feeds.keys() - x)
    expected = onnx_models.run_node(open_node, feeds)
    cases.assert_identical(onnx_models.run_node(node, x), expected)
    others = feeds | {"initial_h": -feeds["initial_h"]}
    expected = onnx_models.run_node(open_node, others)
    cases.assert_identical(
        onnx_models.run_node(node, x | {"initial_h": -feeds["initial_h"]}), expected
    )


def test_a_sequence_of_no_steps_keeps_its_state() -> None:
    built = onnx_models.build(Operator("LSTM", "bidirectional"))
    (node,) = rnnfast.onnx.load(built.model)
    feeds = built.feeds | {"sequence_lens": np.array([3, 0, 7, 0, 1])}
    for _ in ("kernels", "reference"):
        results = onnx_models.run_node(node, feeds)
        assert not results["Y"][:, :, 1].any()
        np.testing.assert_array_equal(results["Y_c"][:, 1], feeds["initial_c"][:, 1])
        built.model.graph.node[0].attribute.append(helper.make_attribute("clip", 1.0))
        (node,) = rnnfast.onnx.load(built.model)


def test_float64_operators() -> None:
    """onnxruntime has none: the float32 operator's results, to float32 accuracy."""
    built = onnx_models.build(Operator("GRU", "reverse", attributes={"clip": 0.5}))
    (single,) = rnnfast.onnx.load(built.model)
    for tensor in built.model.graph.initializer:
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    (double,) = rnnfast.onnx.load(built.model)
    assert double.dtype == np.float64
    results = onnx_models.run_node(
        double, {n: v.astype(np.float64) for n, v in built.feeds.items()}
    )
    for name, values in onnx_models.run_node(single, built.feeds).items():
        assert results[name].dtype == np.float64
        np.testing.assert_array_equal(results[name].astype(np.float32), values)


class TestWhereOperatorsStand:
    """Operators in inner graphs and functions, with weights made by other nodes."""

    @staticmethod
    def parts() -> tuple[Any, dict[str, np.ndarray], list[Any], dict[str, np.ndarray]]:
        """An operator, its results, nodes that make its weights, and what they make them of."""
        built = onnx_models.build(Operator("LSTM", states=False))
        (node,) = rnnfast.onnx.load(built.model)
        values = {t.name: numpy_helper.to_array(t) for t in built.model.graph.initializer}
        makers = [
            helper.make_node("Transpose", ["W_turned"], ["W_2d"], perm=[1, 0]),
            helper.make_node("Unsqueeze", ["W_2d", "axis"], ["W"]),
            helper.make_node("Concat", ["R_upper", "R_lower"], ["R"], axis=1),
            helper.make_node("Constant", [], ["B"], value=numpy_helper.from_array(values["B"])),
        ]
        sources = {
            "W_turned": np.ascontiguousarray(values["W"][0].T),
            "axis": np.array([0]),
            "R_upper": values["R"][:, :7],
            "R_lower": values["R"][:, 7:],
        }
        return built.model.graph.node[0], onnx_models.run_node(node, built.feeds), makers, sources

    @staticmethod
    def feeds() -> dict[str, np.ndarray]:
        return onnx_models.build(Operator("LSTM", states=False)).feeds

    def check(self, model: Any, expected: dict[str, np.ndarray]) -> None:
        onnx.checker.check_model(model)
        (node,) = rnnfast.onnx.load(model)
        assert node.name == "the_node"
        cases.assert_identical(onnx_models.run_node(node, self.feeds()), expected)

    def test_weights_made_by_nodes(self) -> None:
        node, expected, makers, sources = self.parts()
        feeds = self.feeds()
        self.check(onnx_models.model([*makers, node], feeds, node.output, sources), expected)

    @pytest.mark.parametrize("outside", [0, 2, 4])
    def test_in_a_branch(self, outside: int) -> None:
        """Some makers of its weights stand in the branch, others around it."""
        node, expected, makers, sources = self.parts()
        info = helper.make_tensor_value_info
        outputs = [info("Y", TensorProto.FLOAT, None)]
        inner = helper.make_graph([*makers[outside:], node], "then", [], outputs)
        zero = helper.make_node("Identity", ["X"], ["other"])
        other = helper.make_graph([zero], "else", [], [info("other", TensorProto.FLOAT, None)])
        branch = helper.make_node("If", ["flag"], ["result"], then_branch=inner, else_branch=other)
        feeds = self.feeds() | {"flag": np.array(True)}
        nodes = [*makers[:outside], branch]
        self.check(onnx_models.model(nodes, feeds, ["result"], sources), expected)

    def test_in_a_function(self) -> None:
        node, expected, makers, sources = self.parts()
        opsets = [helper.make_opsetid("", 14)]
        function = helper.make_function(
            "own", "Layer", ["X", "W", "R", "B"], ["Y", "Y_h", "Y_c"], [node], opsets
        )
        call = helper.make_node("Layer", ["X", "W", "R", "B"], list(node.output), domain="own")
        model = onnx_models.model([*makers, call], self.feeds(), node.output, sources)
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("own", 1))
        onnx.checker.check_model(model)
        (found,) = rnnfast.onnx.load(model)
        cases.assert_identical(onnx_models.run_node(found, self.feeds()), expected)

    def test_sources(self, tmp_path: Path) -> None:
        """A path, its text, bytes and a model are read alike."""
        node, expected, makers, sources = self.parts()
        model = onnx_models.model([*makers, node], self.feeds(), node.output, sources)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        for source in (path, str(path), path.read_bytes(), model):
            (found,) = rnnfast.onnx.load(source)
            cases.assert_identical(onnx_models.run_node(found, self.feeds()), expected)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_reads_what_pytorch_exports(kind: str, batch_first: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if "dynamo" not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip("this PyTorch has not the exporter that is tested")
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(5, 7, 2, bidirectional=True, batch_first=batch_first).eval()
    file, x = io.BytesIO(), torch.randn(3, 4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        torch.onnx.export(module, (x,), file, dynamo=False)
    layer = rnnfast.onnx.to_layer(*rnnfast.onnx.load(file.getvalue()))
    parameters = {name: p.detach().numpy() for name, p in module.named_parameters()}
    cases.assert_identical(layer.state_dict(), parameters)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (Operator("LSTM", attributes={"activations": ["Sigmoid", "Tanh", "Gelu"]}),
         "LSTM node 'the_node': attribute activations: expected one of Relu, .*, got 'Gelu'"),
        (Operator("GRU", attributes={"activations": ["Sigmoid"]}),
         "GRU node 'the_node': attribute activations: expected 2 functions for each of 1 dir"),
        (Operator("RNN", attributes={"activations": ["Affine"], "activation_alpha": [2.0]}),
         "RNN node 'the_node': attribute activation_beta: expected a value for Affine"),
        (Operator("RNN", attributes={"activations": ["ScaledTanh"]}),
         "attribute activation_alpha: expected a value for ScaledTanh"),
        (Operator("RNN", attributes={"activations": ["Tanh"], "activation_alpha": [2.0]}),
         "attribute activation_alpha: expected a value for each .* got 1 more for Tanh"),
        (Operator("RNN", attributes={"input_forget": 1}),
         "RNN node 'the_node': attribute input_forget: expected one of"),
        (Operator("GRU", attributes={"linear_before_reset": 2}),
         "GRU node 'the_node': attribute linear_before_reset: expected 0 or 1, got 2"),
        (Operator("LSTM", attributes={"clip": -1.0}),
         "LSTM node 'the_node': attribute clip: expected at least 0, got -1"),
        (Operator("LSTM", attributes={"layout": 3}),
         "attribute layout: expected 0 or 1, got 3"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)  # fmt: skip
def test_says_which_attribute_is_wrong(operator: Operator, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rnnfast.onnx.load(onnx_models.build(operator).model)


def test_says_what_is_wrong_with_inputs() -> None:
    operator = Operator("LSTM")
    with pytest.raises(
        ValueError, match="'the_node': input R: expected a constant, got a value th"
    ):
        rnnfast.onnx.load(onnx_models.build(operator, ("W", "B")).model)
    built = onnx_models.build(operator)
    tensors = {t.name: t for t in built.model.graph.initializer}
    values = {name: numpy_helper.to_array(t) for name, t in tensors.items()}

    def load_with(name: str, value: np.ndarray) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))
        try:
            rnnfast.onnx.load(built.model)
        finally:
            tensors[name].CopyFrom(numpy_helper.from_array(values[name], name))

    with pytest.raises(TypeError, match="input W: dtype: expected float32 or float64, got float16"):
        load_with("W", values["W"].astype(np.float16))
    with pytest.raises(TypeError, match=r"input B: expected dtype float32 \(W's\), got float64"):
        load_with("B", values["B"].astype(np.float64))
    with pytest.raises(
        ValueError, match=r"input B: .*\(num_directions, 2\*4\*hidden_size\) = \(1, 72"
    ):
        load_with("B", values["B"][:, :36])
    with pytest.raises(
        ValueError, match="input W: expected a matrix for each direction, got shape"
    ):
        load_with("W", values["W"][0])
    (node,) = rnnfast.onnx.load(built.model)
    x = built.feeds["X"]
    with pytest.raises(TypeError, match="x: expected dtype float32, the node's, got float64"):
        node(x.astype(np.float64))
    with pytest.raises(
        ValueError, match=r"sequence_lens: expected values in \[0, seq_len\] = \[0, 7\]"
    ):
        node(x, sequence_lens=[1, 2, 3, 4, 8])
    with pytest.raises(
        ValueError, match=r"initial_h: expected shape .* = \(1, 5, 9\), got \(5, 9\)"
    ):
        node(x, initial_h=np.zeros((5, 9), np.float32))
    (gru,) = rnnfast.onnx.load(onnx_models.build(Operator("GRU")).model)
    with pytest.raises(ValueError, match="initial_c: expected None, as GRU has no cell state"):
        gru(x, initial_c=np.zeros((1, 5, 9), np.float32))


def test_a_model_without_recurrent_operators() -> None:
    node = helper.make_node("Tanh", ["X"], ["Y"])
    model = onnx_models.model([node], {"X": np.zeros(3, np.float32)}, ["Y"], {})
    with pytest.raises(ValueError, match="a node of LSTM, GRU, RNN, got nodes of Tanh"):
        rnnfast.onnx.load(model)


def test_to_layer_says_what_has_no_layer() -> None:
    def node(*arguments: Any, **options: Any) -> rnnfast.onnx.RecurrentNode:
        return rnnfast.onnx.load(onnx_models.build(Operator(*arguments, **options)).model)[0]

    with pytest.raises(ValueError, match="nodes: expected at least one, got none"):
        rnnfast.onnx.to_layer()
    with pytest.raises(
        ValueError, match=r"nodes\[0\]: expected direction forward or bidirectional"
    ):
        rnnfast.onnx.to_layer(node("LSTM", "reverse"))
    with pytest.raises(
        ValueError, match=r"nodes\[0\]: expected a cell of the library.*gru_reset_bef"
    ):
        rnnfast.onnx.to_layer(node("GRU", attributes={"clip": 1.0}))
    mixed = {"activations": ["Relu", "Tanh"]}
    with pytest.raises(ValueError, match=r"nodes\[0\]: expected a cell .* one for all directions"):
        rnnfast.onnx.to_layer(node("RNN", "bidirectional", attributes=mixed))
    with pytest.raises(ValueError, match=r"nodes\[1\]: expected .* input_size = .* 9, got .* 6"):
        rnnfast.onnx.to_layer(node("LSTM"), node("LSTM"))
    layer = rnnfast.onnx.to_layer(node("LSTM", bias=False), node("LSTM", I=9))
    assert not layer.state_dict()["bias_ih_l0"].any()
    assert layer.state_dict()["bias_ih_l1"].all()
    assert not layer.training
