"""`rnnfast.onnx.to_layer`: operators become one network only if their model joins them that way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper

import onnx_models
import rnnfast.onnx

H = 6  # of every operator, and the size of every input
Join = Callable[[str, str], list[Any]]


def lstm(name: str, x: str, directions: int = 1) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a node that reads x and makes "name.Y", and its weights."""
    rng = np.random.default_rng(len(name))
    depth = H * directions if "second" in name else H
    shapes = {"W": (directions, 4 * H, depth), "R": (directions, 4 * H, H)}
    weights = {
        f"{name}.{kind}": (0.5 * rng.standard_normal(shape)).astype(np.float32)
        for kind, shape in shapes.items()
    }
    node = helper.make_node(
        "LSTM", [x, *weights], [f"{name}.Y", f"{name}.Y_h"], name=name, hidden_size=H,
        direction="bidirectional" if directions == 2 else "forward",
    )  # fmt: skip
    return node, weights


CONSTANTS = {
    "one": np.array([1]),
    "zero": np.array([0]),
    "two": np.array([2]),
    "three": np.array([3]),
    "keep": np.array([0, 0, -1]),
    "keep_batch": np.array([0, -1, 2 * H]),
    "gain": np.full((1, 1, H), 1.5, np.float32),
}


def two_layers(join: Join, directions: int = 1) -> Any:
    """Return a model in which nodes make the second operator's X from the first one's Y."""
    first, weights = lstm("first", "X", directions)
    second, more = lstm("second", "joined", directions)
    nodes = [first, *join("first.Y", "joined"), second]
    feeds = {"X": np.zeros((4, 3, H), np.float32)}
    return onnx_models.model(nodes, feeds, ["second.Y"], weights | more | CONSTANTS)


def two_towers() -> Any:
    """Return a model in which both operators read X, whose size differs from theirs."""
    rng = np.random.default_rng(0)
    weights = {
        f"{name}.{kind}": rng.standard_normal((1, 4 * H, depth)).astype(np.float32)
        for name in ("one", "other")
        for kind, depth in (("W", H + 1), ("R", H))
    }
    nodes = [
        helper.make_node(
            "LSTM", ["X", f"{name}.W", f"{name}.R"], [f"{name}.Y"], name=name, hidden_size=H
        )
        for name in ("one", "other")
    ]
    feeds = {"X": np.zeros((4, 3, H + 1), np.float32)}
    return onnx_models.model(nodes, feeds, ["one.Y", "other.Y"], weights)


def node(op_type: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs, [output], **attributes)


def turned_and_reshaped(y: str, x: str) -> list[Any]:
    return [
        node("Transpose", [y], "turned", perm=[0, 2, 1, 3]),
        node("Reshape", ["turned", "keep"], x),
    ]


def by_the_shape_of_the_input(y: str, x: str) -> list[Any]:
    return [
        node("Transpose", [y], "turned", perm=[0, 2, 1, 3]),
        node("Shape", ["X"], "shape"),
        node("Slice", ["shape", "zero", "two"], "sizes"),
        node("Slice", ["keep", "two", "three"], "rest"),
        node("Concat", ["sizes", "rest"], "wanted", axis=0),
        node("Reshape", ["turned", "wanted"], x),
    ]


def squeezed(y: str, x: str) -> list[Any]:
    return [
        node("Squeeze", [y, "one"], "flat"),
        node("Dropout", ["flat"], "dropped"),
        node("Transpose", ["dropped"], "batch_first", perm=[1, 0, 2]),
        node("Transpose", ["batch_first"], x, perm=[1, 0, 2]),
    ]


def halves_beside_each_other(y: str, x: str) -> list[Any]:
    halves = helper.make_node("Split", [y], ["ahead", "back"], axis=1)
    flat = [node("Squeeze", [half, "one"], f"{half}.flat") for half in ("ahead", "back")]
    return [halves, *flat, node("Concat", ["ahead.flat", "back.flat"], x, axis=2)]


@pytest.mark.parametrize(
    ("join", "directions"),
    [
        (turned_and_reshaped, 1),
        (turned_and_reshaped, 2),
        (squeezed, 1),
        (halves_beside_each_other, 2),
    ],
)
def test_operators_in_a_row_are_layers(join: Join, directions: int) -> None:
    """Different exporters join the operators in different ways."""
    model = two_layers(join, directions)
    nodes = rnnfast.onnx.load(model)
    layer = rnnfast.onnx.to_layer(*nodes)
    assert (layer.num_layers, layer.bidirectional) == (2, directions == 2)
    x = np.random.default_rng(0).standard_normal((4, 3, H)).astype(np.float32)
    y = nodes[0](x)[0].swapaxes(1, 2).reshape(4, 3, -1)
    y = nodes[1](y)[0].swapaxes(1, 2).reshape(4, 3, -1)
    np.testing.assert_array_equal(layer(x)[0], y)
    peer = onnx_models.run_onnxruntime(model, {"X": x}, ["second.Y"])["second.Y"]
    np.testing.assert_allclose(y, peer.swapaxes(1, 2).reshape(4, 3, -1), rtol=0, atol=1e-6)


def activated(y: str, x: str) -> list[Any]:
    return [node("Squeeze", [y, "one"], "flat"), node("Relu", ["flat"], x)]


def scaled(y: str, x: str) -> list[Any]:
    return [node("Squeeze", [y, "one"], "flat"), node("Mul", ["flat", "gain"], x)]


def with_a_bypass(y: str, x: str) -> list[Any]:
    return [node("Squeeze", [y, "one"], "flat"), node("Add", ["flat", "X"], x)]


def beside_it(_: str, x: str) -> list[Any]:
    return [node("Identity", ["X"], x)]


def of_the_last_state(_: str, x: str) -> list[Any]:
    return [node("Identity", ["first.Y_h"], x)]


def mixed_up(y: str, x: str) -> list[Any]:
    """Return a model that mixes the batch of one step into that of another."""
    return [node("Squeeze", [y, "one"], "flat"), node("Transpose", ["flat"], x, perm=[1, 0, 2])]


@pytest.mark.parametrize(
    ("join", "reads"),
    [
        (activated, "what nodes compute from the output of LSTM node 'first'"),
        (scaled, "what nodes compute from the output of LSTM node 'first'"),
        (mixed_up, "what nodes compute from the output of LSTM node 'first'"),
        (
            with_a_bypass,
            "what nodes compute from the graph input 'X' and the output of LSTM node 'fi",
        ),
        (beside_it, "what nodes compute from the graph input 'X'"),
        (of_the_last_state, "what nodes compute from the output of LSTM node 'first'"),
    ],
)
def test_operators_with_something_in_between_are_not(join: Join, reads: str) -> None:
    nodes = rnnfast.onnx.load(two_layers(join))
    with pytest.raises(
        ValueError, match=rf"nodes\[1\]: .* got LSTM node 'second', which reads {reads}"
    ):
        rnnfast.onnx.to_layer(*nodes)
    for one in nodes:
        assert rnnfast.onnx.to_layer(one).num_layers == 1


def test_an_operator_is_not_a_layer_twice() -> None:
    first, second = rnnfast.onnx.load(two_layers(squeezed))
    for nodes in ((second, first), (first, first), (first, second, second)):
        with pytest.raises(
            ValueError, match="expected an operator that reads the unchanged output of"
        ):
            rnnfast.onnx.to_layer(*nodes)


def in_branches() -> Any:
    """Return a model with an LSTM in each branch of an If."""
    graphs, weights = {}, {}
    for name in ("then", "else"):
        branch, more = lstm(name, "X")
        outputs = [helper.make_tensor_value_info(f"{name}.Y", TensorProto.FLOAT, None)]
        graphs[f"{name}_branch"] = helper.make_graph([branch], name, [], outputs)
        weights |= more
    choice = helper.make_node("If", ["flag"], ["result"], name="choice", **graphs)
    feeds = {"X": np.zeros((2, 3, H), np.float32), "flag": np.array(True)}
    return onnx_models.model([choice], feeds, ["result"], weights)


def test_parallel_operators_of_another_input_size_are_told_what_they_read() -> None:
    one, other = rnnfast.onnx.load(two_towers())
    with pytest.raises(
        ValueError, match=r"expected an operator that reads the unchanged output of nodes"
    ):
        rnnfast.onnx.to_layer(one, other)


def test_a_list_of_operators_says_how_to_give_it() -> None:
    nodes = rnnfast.onnx.load(two_layers(turned_and_reshaped))
    with pytest.raises(TypeError, match=r"nodes\[0\]: .*got list; .*to_layer\(\*nodes\)"):
        rnnfast.onnx.to_layer(nodes)  # type: ignore[arg-type]


def test_branches_are_alternatives() -> None:
    nodes = rnnfast.onnx.load(in_branches())
    assert {one.branches for one in nodes} == {
        ("then_branch of If node 'choice'",),
        ("else_branch of If node 'choice'",),
    }
    with pytest.raises(ValueError, match=r"in (then|else)_branch of If.*choose operators of "):
        rnnfast.onnx.to_layer(*nodes)
    (chosen,) = (one for one in nodes if "then_branch of If node 'choice'" in one.branches)
    weights = lstm("then", "X")[1]
    layer = rnnfast.onnx.to_layer(chosen)
    np.testing.assert_array_equal(
        np.sort(layer.state_dict()["weight_ih_l0"], axis=None),
        np.sort(weights["then.W"], axis=None),
    )


def test_a_loops_body_does_not_follow_what_is_before_the_loop() -> None:
    """A loop's body runs again and again on its own output."""
    first, weights = lstm("first", "X")
    body_node, more = lstm("second", "carried")
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            body_node,
            node("Squeeze", ["second.Y", "one"], "again"),
            node("Identity", ["going"], "on"),
        ],
        "body",
        [value("step", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
         value("carried", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("again", TensorProto.FLOAT, None)],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["times", "yes", "joined"], ["result"], name="loop", body=body)
    nodes = [first, *squeezed("first.Y", "joined"), loop]
    constants = weights | more | CONSTANTS | {"times": np.array(3), "yes": np.array(True)}
    feeds = {"X": np.zeros((2, 3, H), np.float32)}
    read = rnnfast.onnx.load(onnx_models.model(nodes, feeds, ["result"], constants))
    assert [one.branches for one in read] == [(), ("body of Loop node 'loop'",)]
    with pytest.raises(ValueError, match=r"in body of Loop node 'loop', which reads the graph in"):
        rnnfast.onnx.to_layer(*read)


def test_pytorchs_new_exporter_writes_sizes_as_numbers() -> None:
    """Its Reshape between the layers has the sample's sizes of time and batch."""

    def of_numbers(y: str, x: str) -> list[Any]:
        return [
            node("Transpose", [y], "turned", perm=[0, 2, 1, 3]),
            node("Reshape", ["turned", "sizes"], x),
        ]

    first, weights = lstm("first", "X", 2)
    second, more = lstm("second", "joined", 2)
    nodes = [first, *of_numbers("first.Y", "joined"), second]
    feeds = {"X": np.zeros((5, 4, H), np.float32)}
    sizes = {"sizes": np.array([5, 4, 2 * H])}
    model = onnx_models.model(nodes, feeds, ["second.Y"], weights | more | sizes)
    assert rnnfast.onnx.to_layer(*rnnfast.onnx.load(model)).num_layers == 2


def test_a_reshape_by_the_shape_of_the_models_input() -> None:
    """This is how `view(x.size(0), x.size(1), -1)` is exported."""
    nodes = rnnfast.onnx.load(two_layers(by_the_shape_of_the_input, 2))
    assert rnnfast.onnx.to_layer(*nodes).num_layers == 2


@pytest.mark.parametrize(
    ("op_type", "domain"),
    [
        ("DynamicQuantizeLSTM", "com.example"),
        ("LSTM", "com.example"),
        ("AttnLSTM", "com.microsoft"),
        ("QLinearGru", "own"),
        ("ATen", "org.pytorch.aten"),
    ],
)
def test_a_model_is_not_read_in_part(op_type: str, domain: str) -> None:
    """Quantised operators and those of a particular runtime are named, not left out."""
    first, weights = lstm("first", "X")
    other = helper.make_node(op_type, ["joined"], ["Y"], name="other", domain=domain)
    if op_type == "ATen":
        other.attribute.append(helper.make_attribute("operator", "quantized_lstm"))
    nodes = [first, *squeezed("first.Y", "joined"), other]
    feeds = {"X": np.zeros((2, 3, H), np.float32)}
    model = onnx_models.model(nodes, feeds, ["Y"], weights | CONSTANTS)
    with pytest.raises(
        ValueError, match=rf"source: expected .* got {domain}\.{op_type} node 'other'; a model is"
    ):
        rnnfast.onnx.load(model)
