"""`rnnfast.onnx.load`: inputs of an operator that its model computes have onnxruntime's values."""

from __future__ import annotations

import io
import itertools
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper, numpy_helper

import onnx_models
import rnnfast.onnx
from onnx_models import Operator
from rnnfast.onnx import inference

BATCHES = ((7, 5), (3, 1), (4, 9))


def of(operator: Operator, makers: Sequence[Any], sources: dict[str, np.ndarray]) -> Any:
    """Return a model of the operator, from "x" of open sizes, whose other inputs `makers` make."""
    built = onnx_models.build(operator)
    weights = {t.name: numpy_helper.to_array(t) for t in built.model.graph.initializer}
    model = onnx_models.model(
        [*makers, built.model.graph.node[0]], {}, operator.outputs, weights | sources
    )
    x = "X" if any("X" in node.output for node in makers) else "x"
    if x == "x":
        model.graph.node.insert(0, helper.make_node("Identity", ["x"], ["X"]))
    shape = [None, None, operator.I]
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    return model


def random(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (0.5 * rng.standard_normal(shape)).astype(np.float32)


def check(model: Any, operator: Operator, *, transposed: bool = False) -> Any:
    """Check that the operator equals onnxruntime at every size, in each kernel and reference."""
    (node,) = rnnfast.onnx.load(model)
    for seq_len, batch in BATCHES:
        x = random(seq_len, batch, operator.I)
        feeds = {"x": x.swapaxes(0, 1) if transposed else x}
        peer = onnx_models.run_onnxruntime(model, feeds, operator.outputs)
        onnx_models.assert_near(onnx_models.run_node(node, {"X": x}), peer, node, {"X": x})
    return node


def batch_shape(source: str, axis: int, directions: int, hidden: int) -> tuple[list[Any], Any]:
    """Return nodes that make (D, B, H) from a value's shape, as PyTorch's exporter writes them."""
    nodes = [
        helper.make_node("Shape", [source], ["its_shape"]),
        helper.make_node("Gather", ["its_shape", "batch_axis"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "zero"], ["batch_1"]),
        helper.make_node("Concat", ["directions", "batch_1", "hidden"], ["state_shape"], axis=0),
    ]
    sources = {
        "batch_axis": np.array(axis),
        "zero": np.array([0]),
        "directions": np.array([directions]),
        "hidden": np.array([hidden]),
    }
    return nodes, sources


def states_of_the_shape_of_x(operator: Operator) -> Any:
    """Return a model whose X is "x", batch first, with a state for each of its sequences."""
    nodes, sources = batch_shape("x", 0, 1, operator.H)
    nodes += [
        helper.make_node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        helper.make_node("Expand", ["h", "state_shape"], ["initial_h"]),
    ]
    sources["h"] = random(1, 1, operator.H)
    return of_states(operator, nodes, sources, ["initial_h"])


class TestStates:
    """Initial states, constant or computed."""

    @pytest.mark.parametrize("op_type", onnx_models.GATES)
    @pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
    def test_expanded_from_a_parameter(self, op_type: str, direction: str) -> None:
        operator = Operator(op_type, direction, states=False)
        nodes, sources = batch_shape("X", 1, operator.directions, operator.H)
        names = ("initial_h", "initial_c")[: len(operator.outputs) - 1]
        for name in names:
            nodes.append(helper.make_node("Expand", [f"{name}_1", "state_shape"], [name]))
            sources[f"{name}_1"] = random(operator.directions, 1, operator.H)
        node = check(of_states(operator, nodes, sources, names), operator)
        assert sorted(node.computed) == sorted(names)
        large = 4000, 3000, 1024  # only its shape is read
        assert node.computed["initial_h"](large).shape == (operator.directions, 3000, operator.H)
        if direction == "reverse":
            with pytest.raises(ValueError, match=r"nodes\[0\]: expected direction forward"):
                rnnfast.onnx.to_layer(node)
            return
        layer, x = rnnfast.onnx.to_layer(node), random(7, 3, operator.I)
        assert layer.learn_state
        y = node(x)[0].swapaxes(1, 2).reshape(7, 3, -1)
        np.testing.assert_array_equal(layer(x)[0], y)
        for k, name in enumerate(names):
            learned = getattr(layer, f"initial_state_{k}")
            np.testing.assert_array_equal(learned, sources[f"{name}_1"][:, 0])

    def test_of_the_shape_of_an_input_that_is_batch_first(self) -> None:
        operator = Operator("GRU", states=False)
        check(states_of_the_shape_of_x(operator), operator, transposed=True)

    @pytest.mark.parametrize("program", ["import os; os.abort()", "import time; time.sleep(60)"])
    def test_inference_that_ends_or_hangs_makes_no_shapes_known(
        self, program: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Onnx infers shapes in a process of its own, as some damaged models make it abort."""
        operator = Operator("GRU", states=False)
        model = states_of_the_shape_of_x(operator)
        monkeypatch.setattr(inference, "_PROGRAM", program)
        monkeypatch.setattr(inference, "_LONGEST", 1 if "sleep" in program else 60)
        (node,) = rnnfast.onnx.load(model)
        with pytest.raises(ValueError, match=r"initial_h: .* the shape of 'x', which is unknown"):
            node(random(3, 2, operator.I))
        monkeypatch.setattr(sys, "frozen", True, raising=False)  # without an interpreter to start
        check(model, operator, transposed=True)

    def test_of_another_size_than_those_of_x(self) -> None:
        """The batch comes from an input unrelated to X; it is named, and calls must give it."""
        operator = Operator("GRU", states=False)
        nodes, sources = batch_shape("other", 0, 1, operator.H)
        nodes.append(helper.make_node("Expand", ["h", "state_shape"], ["initial_h"]))
        sources["h"] = random(1, 1, operator.H)
        model = of_states(operator, nodes, sources, ["initial_h"])
        other = helper.make_tensor_value_info("other", TensorProto.FLOAT, [None, 2])
        model.graph.input.append(other)
        (node,) = rnnfast.onnx.load(model)
        words = "initial_h: expected a value, .* depends on the size of axis 0 of 'other'"
        with pytest.raises(ValueError, match=words):
            node(random(3, 2, operator.I))

    def test_of_values_of_the_input_must_be_given(self) -> None:
        operator = Operator("GRU", states=False)
        sources = {"axis": np.array([0]), "M": random(operator.I, operator.H)}
        nodes = [
            helper.make_node("Identity", ["x"], ["X"]),
            helper.make_node("ReduceSum", ["X", "axis"], ["sums"]),
            helper.make_node("MatMul", ["sums", "M"], ["initial_h"]),
        ]
        model = of_states(operator, nodes, sources, ["initial_h"])
        (node,) = rnnfast.onnx.load(model)
        x = random(3, 2, operator.I)
        with pytest.raises(
            ValueError, match=r"initial_h: expected a value, as .* depends on the graph input 'x'"
        ):
            node(x)
        h = x.sum(axis=0, keepdims=True) @ sources["M"]
        peer = onnx_models.run_onnxruntime(model, {"x": x}, operator.outputs)
        onnx_models.assert_near(
            onnx_models.run_node(node, {"X": x, "initial_h": h}),
            peer,
            node,
            {"X": x, "initial_h": h},
        )
        with pytest.raises(
            ValueError, match=r"nodes\[0\]: expected .* not define initial_h, .* comp"
        ):
            rnnfast.onnx.to_layer(node)

    @pytest.mark.parametrize("batch", [1, 4])
    def test_zeros_of_the_exported_batch_pin_no_batch(self, batch: int) -> None:
        """Constant zeros, expanded or not, with the batch of the sample leave the batch open."""
        operator = Operator("LSTM")
        zeros = np.zeros((1, batch, operator.H), np.float32)
        model = onnx_models.build(operator).model
        del model.graph.input[1:]
        for name in ("initial_h", "initial_c"):
            model.graph.initializer.append(numpy_helper.from_array(zeros, name))
        (node,) = rnnfast.onnx.load(model)
        without = onnx_models.build(operator).feeds | {"initial_h": None, "initial_c": None}
        x = {"X": without.pop("X")}
        expected = onnx_models.run_node(node, x | {n: zeros[:, :1].repeat(5, 1) for n in without})
        for name, values in onnx_models.run_node(node, x).items():
            np.testing.assert_array_equal(values, expected[name])
        assert rnnfast.onnx.to_layer(node)(random(3, 2, operator.I))[0].shape == (3, 2, operator.H)

    def test_a_constant_that_all_sequences_share_is_learned_and_the_other_is_zero(self) -> None:
        operator = Operator("LSTM", "bidirectional")
        built = onnx_models.build(operator)
        shared = random(2, 1, operator.H).repeat(4, axis=1)
        model = built.model
        del model.graph.input[1:]
        model.graph.initializer.append(numpy_helper.from_array(shared, "initial_c"))
        model.graph.initializer.append(numpy_helper.from_array(0 * shared, "initial_h"))
        (node,) = rnnfast.onnx.load(model)
        layer, x = rnnfast.onnx.to_layer(node), random(3, 4, operator.I)
        np.testing.assert_array_equal(layer.initial_state_1, shared[:, 0])
        assert not layer.initial_state_0.value.any()
        np.testing.assert_array_equal(layer(x)[1][1], node(x)[2])

    @pytest.mark.parametrize("name", ["initial_h", "initial_c", "sequence_lens"])
    def test_a_layer_has_no_states_that_differ_and_no_constant_lengths(self, name: str) -> None:
        built = onnx_models.build(Operator("LSTM", lengths=True), (*onnx_models.CONSTANTS, name))
        (node,) = rnnfast.onnx.load(built.model)
        with pytest.raises(
            ValueError, match=rf"nodes\[0\]: expected .* not define {name}, .* a constant; call the"
        ):
            rnnfast.onnx.to_layer(node)

    def test_a_constant_of_a_wrong_shape(self) -> None:
        built = onnx_models.build(Operator("LSTM"))
        del built.model.graph.input[1]
        wrong = numpy_helper.from_array(random(5, 9), "initial_h")
        built.model.graph.initializer.append(wrong)
        with pytest.raises(ValueError, match=r"input initial_h: expected shape \(num_directions"):
            rnnfast.onnx.load(built.model)


def of_states(
    operator: Operator, nodes: list[Any], sources: dict[str, np.ndarray], names: Sequence[str]
) -> Any:
    """Return a model as `of` does, with an operator that reads the states that nodes make."""
    model = of(operator, nodes, sources)
    node = next(n for n in model.graph.node if n.op_type == operator.op_type)
    node.input.extend(["", *names])
    return model


def test_weights_that_are_stored_as_integers() -> None:
    """Models quantised with QuantizeLinear and DequantizeLinear keep ONNX's operators."""
    operator = Operator("LSTM", "bidirectional", states=False)
    built = onnx_models.build(operator)
    for tensor in list(built.model.graph.initializer):
        name, values = tensor.name, numpy_helper.to_array(tensor)
        scale = np.float32(np.abs(values).max() / 127)
        tensor.CopyFrom(numpy_helper.from_array((values / scale).astype(np.int8), f"{name}.8"))
        more = {f"{name}.scale": scale, f"{name}.zero": np.int8(0)}
        built.model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), n) for n, value in more.items()
        )
        maker = helper.make_node("DequantizeLinear", [f"{name}.8", *more], [name])
        built.model.graph.node.insert(0, maker)
    (node,) = rnnfast.onnx.load(built.model)
    peer = onnx_models.run_onnxruntime(built.model, built.feeds, operator.outputs)
    results = onnx_models.run_node(node, built.feeds)
    onnx_models.assert_near(results, peer, node, built.feeds)


def test_an_input_of_a_body_hides_what_is_outside() -> None:
    """A value of the same name around the loop is a different value."""
    operator = Operator("RNN", states=False)
    built = onnx_models.build(operator)
    inner = built.model.graph.node[0]
    inner.input[0] = "carried"
    inner.input.extend(["", "initial_h"])
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [inner, *(helper.make_node("Identity", [a], [b]) for a, b in
                  (("going", "on"), ("carried", "again"), ("Y_h", "last")))],
        "body",
        [value("step", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
         value("carried", TensorProto.FLOAT, None), value("initial_h", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("again", TensorProto.FLOAT, None),
         value("last", TensorProto.FLOAT, None)],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["", "", "X", "initial_h"], ["a", "b"], body=body)
    built.model.graph.node[0].CopyFrom(loop)
    constant = numpy_helper.from_array(random(1, operator.B, operator.H), "initial_h")
    built.model.graph.initializer.append(constant)
    (node,) = rnnfast.onnx.load(built.model)
    assert not node.constants
    assert not node.computed


class TestLengths:
    """Lengths of sequences that are computed from shapes, as tf2onnx writes them."""

    @staticmethod
    def model(operator: Operator, short: int) -> Any:
        nodes = [
            helper.make_node("Shape", ["X"], ["its_shape"]),
            helper.make_node("Slice", ["its_shape", "zero", "one"], ["T"]),
            helper.make_node("Slice", ["its_shape", "one", "two"], ["size"]),
            helper.make_node("Sub", ["T", "short"], ["T_short"]),
            helper.make_node("Cast", ["T_short"], ["T_32"], to=TensorProto.INT32),
            helper.make_node("Tile", ["T_32", "size"], ["sequence_lens"]),
        ]
        sources = {name: np.array([k]) for k, name in enumerate(("zero", "one", "two"))}
        model = of(operator, nodes, sources | {"short": np.array([short])})
        node = next(n for n in model.graph.node if n.op_type == operator.op_type)
        node.input.append("sequence_lens")
        return model

    @pytest.mark.parametrize("op_type", onnx_models.GATES)
    @pytest.mark.parametrize("short", [0, 1])
    def test_computed_from_the_shape(self, op_type: str, short: int) -> None:
        operator = Operator(op_type, "bidirectional", states=False)
        node = check(self.model(operator, short), operator)
        if short:
            with pytest.raises(ValueError, match=r"not define sequence_lens, .* it is computed"):
                rnnfast.onnx.to_layer(node)
        else:  # full length for all sequences, which is a layer's default
            x = random(4, 3, operator.I)
            y = onnx_models.run_node(node, {"X": x})["Y"].swapaxes(1, 2).reshape(4, 3, -1)
            np.testing.assert_array_equal(rnnfast.onnx.to_layer(node)(x)[0], y)


def test_a_model_of_one_size_says_so() -> None:
    """The length comes from an input of fixed size, while X has another size."""
    operator = Operator("GRU", states=False)
    model = TestLengths.model(operator, short=0)
    model.graph.node[1].input[0] = "x"
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[1].dim_value = 7, 5
    (node,) = rnnfast.onnx.load(model)
    assert node(random(7, 5, operator.I))[0].shape == (7, 1, 5, operator.H)
    with pytest.raises(
        ValueError, match=r"sequence_lens: .* expects 'X' of shape \(7, 5, 6\), got \(9"
    ):
        node(random(9, 5, operator.I))


KINDS = ("LSTM", "GRU", "RNN")
EXPORTS = [
    *itertools.product(KINDS, (False, True), ("fixed", "open"), ("none", "own"), (17,)),
    *itertools.product(KINDS, (False, True), ("batch open",), ("own",), (17,)),
    *itertools.product(KINDS, (True,), ("open",), ("own",), (9, 11, 20)),
]


@pytest.mark.parametrize(("kind", "batch_first", "sizes", "state", "opset"), EXPORTS)
def test_pytorch_exports_with_and_without_states(
    kind: str, batch_first: bool, sizes: str, state: str, opset: int
) -> None:
    """Two layers start from PyTorch's own state or a parameter; the batch stays open where it is.

    A file of fixed sizes also works for other batches if its states are zero.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    hidden, layers = 7, 2
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = getattr(torch.nn, kind)(5, hidden, layers, batch_first=batch_first)
            self.own = torch.nn.Parameter(torch.randn(layers, 1, hidden))

        def forward(self, x: Any) -> Any:
            if state == "none":
                return self.rnn(x)[0]
            h = self.own.expand(-1, x.size(0 if batch_first else 1), -1).contiguous()
            return self.rnn(x, (h, 2 * h) if kind == "LSTM" else h)[0]

    module, file = Model().eval(), io.BytesIO()
    batch_axis = 0 if batch_first else 1
    open_axes = {"fixed": (), "batch open": (batch_axis,), "open": (0, 1)}[sizes]
    axes = {"x": {axis: f"axis_{axis}" for axis in open_axes}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated
        torch.onnx.export(
            module, (torch.randn(3, 4, 5),), file,
            dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=opset,
        )  # fmt: skip
    nodes = rnnfast.onnx.load(file.getvalue())
    free = (0, 1) if state == "none" else open_axes
    other = 6 if 0 in free else 3, 2 if 1 in free else 4, 5
    for shape in ((3, 4, 5), other):
        x = random(*shape)
        y = x.swapaxes(0, 1) if batch_first else x
        for node in nodes:
            y = node(y)[0][:, 0]
        y = y.swapaxes(0, 1) if batch_first else y
        with torch.inference_mode():
            expected = module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
        layer = rnnfast.onnx.to_layer(*nodes)
        assert layer.learn_state == (state == "own")
        y = layer(x.swapaxes(0, 1) if batch_first else x)[0]
        y = y.swapaxes(0, 1) if batch_first else y
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
