"""Streams of operators that `rnnfast.onnx.load` returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import cases
import onnx_models
import rnnfast.onnx
from layer_cases import learning
from onnx_models import Operator

OPERATORS = [
    Operator("LSTM"),
    Operator("LSTM", peepholes=True, bias=False),
    Operator("GRU"),
    Operator("GRU", attributes={"linear_before_reset": 1}),
    Operator("RNN", attributes={"activations": ["Relu"]}),
]


def loaded(operator: Operator, constants: tuple[str, ...] = onnx_models.CONSTANTS) -> Any:
    (node,) = rnnfast.onnx.load(onnx_models.build(operator, constants).model)
    return node


def as_state(states: list[np.ndarray]) -> Any:
    return tuple(states) if len(states) > 1 else states[0]


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_steps_have_the_bits_of_a_call(operator: Operator) -> None:
    """States go in with the stream, and come out as ONNX's Y_h and Y_c."""
    node = loaded(operator)
    arrays = onnx_models.arrays(operator)
    given = [arrays[name] for name in ("initial_h", "initial_c") if name in arrays]
    y, *final = node(arrays["X"], None, *given)
    stream = node.stream(operator.B, as_state(given))
    steps = np.stack([stream(x) for x in arrays["X"]])
    np.testing.assert_array_equal(steps, y[:, 0])
    ends = stream.state if isinstance(stream.state, tuple) else (stream.state,)
    cases.assert_identical(dict(enumerate(ends)), dict(enumerate(final)))
    stream.reset()  # to zeros, as the model takes its states from its caller
    np.testing.assert_array_equal(stream(arrays["X"][0]), node(arrays["X"][:1])[0][0, 0])


def test_a_stream_starts_from_the_models_own_state() -> None:
    case = cases.Case("lstm", T=4, B=3)
    layer = learning(case).eval()
    (node,) = rnnfast.onnx.load(rnnfast.onnx.to_model(layer, portable=True))
    x = cases.make_data(case).x
    expected, _ = layer(x)
    stream = node.stream(3)
    for _ in range(2):
        np.testing.assert_array_equal(np.stack([stream(step) for step in x]), expected)
        stream.reset()
    given = tuple(np.zeros((1, 3, 8), np.float32) for _ in "hc")
    np.testing.assert_array_equal(node.stream(3, given)(x[0]), layer(x[:1], given)[0][0])


def test_what_has_no_stream() -> None:
    for operator, message in (
        (Operator("GRU", "reverse"), "stream: expected direction forward, got reverse"),
        (Operator("LSTM", "bidirectional"), "expected direction forward, got bidirectional"),
        (
            Operator("LSTM", attributes={"clip": 1.0}),
            "stream: expected a cell of the library, got p",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            loaded(operator).stream()
    lengths = loaded(Operator("RNN", lengths=True), (*onnx_models.CONSTANTS, "sequence_lens"))
    with pytest.raises(
        ValueError, match="does not define sequence_lens, which a layer or a stream"
    ):
        lengths.stream(5)
    states = loaded(Operator("RNN"), (*onnx_models.CONSTANTS, "initial_h"))
    with pytest.raises(
        ValueError, match="define initial_h, unless all sequences start from the sa"
    ):
        states.stream(5)
    assert states.stream(5, np.zeros((1, 5, 9), np.float32)).batch == 5
    with pytest.raises(ValueError, match="state"):
        loaded(Operator("RNN")).stream(5, np.zeros((1, 4, 9), np.float32))
