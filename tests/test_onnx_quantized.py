"""Models that onnxruntime has quantised: their weights, and how near our results come to theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.onnx  # noqa: E402

T, B, I, H, L = 20, 3, 24, 40, 2


def quantised(folder: Path, **options: Any) -> tuple[rnnfast.LSTM, Path]:
    """Return a layer, and the model that onnxruntime makes of it."""
    bidirectional = options.pop("bidirectional", False)
    layer = rnnfast.LSTM(I, H, L, bidirectional=bidirectional, seed=1).eval()
    rnnfast.onnx.export(layer, folder / "layer.onnx")
    quantize_dynamic(folder / "layer.onnx", folder / "quantised.onnx", **options)
    return layer, folder / "quantised.onnx"


def relative(got: Any, expected: Any) -> float:
    return float(np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()))


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8], ids=str)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_weights_are_dequantised(
    bidirectional: bool, per_channel: bool, kind: Any, tmp_path: Path
) -> None:
    layer, path = quantised(
        tmp_path, bidirectional=bidirectional, per_channel=per_channel, weight_type=kind
    )
    nodes = rnnfast.onnx.load(path)
    of_nodes = [d.weights for node in nodes for d in node.directions]
    for ours, theirs in zip(layer._weights, of_nodes, strict=True):
        for name in ("weight_ih", "weight_hh"):
            exact, got = getattr(ours, name), getattr(theirs, name)
            step = 2 * np.abs(exact).max() / 254  # of the coarsest scale
            assert 0 < np.abs(got - exact).max() <= step
        np.testing.assert_array_equal(theirs.bias_ih, ours.bias_ih)
    read = rnnfast.onnx.to_layer(*nodes)
    x = np.random.default_rng(0).standard_normal((T, B, I)).astype(np.float32)
    zeros = np.zeros((L * (1 + bidirectional), B, H), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x, "h0": zeros, "c0": zeros})[0]
    exact = layer(x)[0]
    assert relative(theirs, read(x)[0]) < 0.01
    assert relative(read(x)[0], exact) < relative(theirs, exact)
    read.precision = "int8"
    assert relative(read(x)[0], exact) < 1.2 * relative(theirs, exact)


def test_a_wrong_number_of_inputs_is_refused(tmp_path: Path) -> None:
    _, path = quantised(tmp_path)
    model = onnx.load(path)
    node = next(n for n in model.graph.node if n.op_type == "DynamicQuantizeLSTM")
    del node.input[-1]
    with pytest.raises(ValueError, match=r"DynamicQuantizeLSTM .* expected 12 inputs, got 11"):
        rnnfast.onnx.load(model)
