"""`rnnfast.onnx.load`: where it finds operators and their weights, and what it refuses."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
import warnings
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


class TestWhereOperatorsStand:
    """Operators in inner graphs and functions, with weights made by other nodes."""

    @staticmethod
    def parts() -> tuple[Any, dict[str, np.ndarray], list[Any], dict[str, np.ndarray]]:
        """Return an operator, its results, the nodes that make its weights, and their inputs."""
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
        """Some nodes that make its weights are in the branch, others around it."""
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
        (Operator("RNN", attributes={"activations": ["Affine"]}),
         "RNN node 'the_node': attribute activation_alpha: expected a value for Affine"),
        (Operator("RNN", attributes={"activations": ["ScaledTanh"]}),
         "attribute activation_alpha: expected a value for ScaledTanh"),
        (Operator("RNN", attributes={"activations": ["Tanh"], "activation_alpha": [2.0]}),
         "attribute activation_alpha: expected one value for each .* got 1 more than .* Tanh have"),
        (Operator("RNN", attributes={"input_forget": 1}),
         "RNN node 'the_node': attribute input_forget: expected only the"),
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

    with pytest.raises(TypeError, match="input W: dtype: expected float32 or float64, got int32"):
        load_with("W", values["W"].astype(np.int32))
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
    with pytest.raises(TypeError, match=r"x: expected .* to convert to dtype float32 \(the node"):
        node(x.astype(np.complex64))
    cases.assert_identical(
        onnx_models.run_node(node, {"X": x.astype(np.float64)}),
        onnx_models.run_node(node, {"X": x}),
    )
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
    with pytest.raises(
        ValueError, match=r"nodes\[0\]: expected a cell .* the same for all directions"
    ):
        rnnfast.onnx.to_layer(node("RNN", "bidirectional", attributes=mixed))
    with pytest.raises(ValueError, match=r"nodes\[1\]: expected .* input_size = .* 9, got .* 6"):
        rnnfast.onnx.to_layer(node("LSTM"), node("LSTM"))
    layer = rnnfast.onnx.to_layer(node("LSTM", bias=False), node("LSTM", I=9))
    assert not layer.state_dict()["bias_ih_l0"].any()
    assert layer.state_dict()["bias_ih_l1"].all()
    assert not layer.training


def test_the_package_onnx_is_named_where_it_is_missing() -> None:
    script = """
import sys
sys.modules["onnx"] = None
try:
    import rnnfast.onnx
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip().endswith("which is not installed: pip install onnx"), result
