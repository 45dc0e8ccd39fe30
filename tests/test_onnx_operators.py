"""Operators that `rnnfast.onnx.load` reads compute what onnxruntime computes with them."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx import helper, numpy_helper

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
    """Return the attributes that name functions and give values to those with parameters."""
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


@pytest.mark.parametrize("op_type", ["RNN", "GRU", "LSTM"])
def test_a_linear_function_as_keras_converter_writes_it(op_type: str) -> None:
    """The Affine function has no beta, which onnxruntime takes as 0."""
    functions = {"RNN": ["Affine"], "GRU": ["Sigmoid", "Affine"]}
    functions["LSTM"] = [*functions["GRU"], "Affine"]
    alphas = [1.0] * functions[op_type].count("Affine")
    attributes = {"activations": functions[op_type], "activation_alpha": alphas}
    check(Operator(op_type, attributes=attributes, T=4), kernels=False)


@pytest.mark.parametrize("op_type", ["LSTM", "GRU"])
@pytest.mark.parametrize(("clip", "kernels"), [(103.0, False), (104.0, True), (50000.0, True)])
def test_a_clip_beyond_every_gate_goes_to_the_kernels(
    op_type: str, clip: float, kernels: bool
) -> None:
    """At 104 the gates are 0, 1 and -1 in float32, so the bits are those without a clip."""
    operator = Operator(op_type, attributes={"clip": clip}, peepholes=op_type == "LSTM")
    check(operator, kernels=kernels)
    built = onnx_models.build(operator)
    (clipped,) = rnnfast.onnx.load(built.model)
    attributes = built.model.graph.node[0].attribute
    del attributes[[a.name for a in attributes].index("clip")]
    (plain,) = rnnfast.onnx.load(built.model)
    large = built.feeds | {"X": 200 * built.feeds["X"]}
    results = onnx_models.run_node(clipped, large)
    if kernels:
        cases.assert_identical(results, onnx_models.run_node(plain, large))


def test_a_clip_of_what_relu_gives_stays() -> None:
    attributes = {"activations": ["Relu"], "clip": 50000.0}
    check(Operator("RNN", attributes=attributes), kernels=False)
    attributes["clip"] = float(np.finfo(np.float32).max)
    check(Operator("RNN", attributes=attributes), kernels=True)
    check(Operator("RNN", attributes={"clip": 104.0}), kernels=True)


def test_a_clip_beyond_float32_is_none_beyond_float64() -> None:
    for clip, kernels in ((104.0, False), (746.0, True)):
        built = onnx_models.build(Operator("LSTM", attributes={"clip": clip}))
        for tensor in built.model.graph.initializer:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
        (node,) = rnnfast.onnx.load(built.model)
        assert node.uses_kernels == kernels


@pytest.mark.parametrize("op_type", onnx_models.GATES)
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_weights_become_float32(op_type: str, kind: str) -> None:
    """The operator is the one with the rounded weights."""
    operator = Operator(op_type, peepholes=op_type == "LSTM")
    built = onnx_models.build(operator, (*onnx_models.CONSTANTS, "initial_h"))
    half = np.dtype(np.float16) if kind == "float16" else helper.tensor_dtype_to_np_dtype(16)
    for tensor in built.model.graph.initializer:
        rounded = numpy_helper.to_array(tensor).astype(half)
        tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    (node,) = rnnfast.onnx.load(built.model)
    for tensor in built.model.graph.initializer:
        wide = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    peer = onnx_models.run_onnxruntime(built.model, built.feeds, operator.outputs)
    assert node.dtype == np.float32
    onnx_models.assert_near(onnx_models.run_node(node, built.feeds), peer, node, built.feeds)


def test_directions_have_activations_of_their_own() -> None:
    names = ("HardSigmoid", "Tanh", "LeakyRelu", "Sigmoid", "Elu", "tanh")
    attributes = with_parameters(*names)
    check(Operator("LSTM", "bidirectional", attributes=attributes), kernels=False)
    check(Operator("RNN", "bidirectional", attributes={"activations": ["Relu", "Tanh"]}),
          kernels=True)  # fmt: skip
    half = {"activations": ["Sigmoid", "Tanh", "Sigmoid", "Relu"]}
    check(Operator("GRU", "bidirectional", attributes=half), kernels=False)


def project_cases() -> list[Any]:
    """Return the ONNX project's own tests of the operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from other operators' cases
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
    """onnxruntime refuses layout 1, so the operator is compared with itself in layout 0."""
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


@pytest.mark.parametrize("attributes", [{}, {"clip": 1.0}])
def test_no_steps_and_no_sequences(attributes: dict[str, Any]) -> None:
    (node,) = rnnfast.onnx.load(
        onnx_models.build(Operator("LSTM", "bidirectional", attributes=attributes)).model
    )
    for T, B in ((0, 5), (7, 0)):
        y, h, c = node(np.zeros((T, B, 6), np.float32))
        assert (y.shape, h.shape, c.shape) == ((T, 2, B, 9), (2, B, 9), (2, B, 9))


def test_float64_operators() -> None:
    """onnxruntime has no float64 operators, so the float32 one is compared, to float32 accuracy."""
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
