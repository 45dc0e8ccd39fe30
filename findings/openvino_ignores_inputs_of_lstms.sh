#!/usr/bin/env bash
# OpenVINO: it ignores inputs and attributes of ONNX's LSTM, without an error or a warning:
# - sequence_lens, if the sizes of time and batch are open; with fixed sizes it obeys them,
# - the peepholes P and input_forget = 1, always.
# onnxruntime obeys all of them.
# Seen with openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0 and NumPy 2.4.6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

T, B, I, H = 6, 2, 3, 4
rng = np.random.default_rng(0)


def model(names, open_sizes, **attributes):
    """Return a model of one LSTM with some of its optional inputs."""
    weights = {"W": (1, 4 * H, I), "R": (1, 4 * H, H), "P": (1, 3 * H)}
    inputs = ["X", "W", "R", "", "lengths" if "lengths" in names else "", "", "", "P"]
    inputs = inputs if "P" in names else inputs[:5]
    used = [name for name in weights if name in inputs]
    constants = [numpy_helper.from_array(rng.normal(size=weights[n]).astype("f"), n) for n in used]
    sizes = [None, None] if open_sizes else [T, B]
    values = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [*sizes, I])]
    if "lengths" in names:
        values.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, sizes[1:]))
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [sizes[0], 1, sizes[1], H])
    node = helper.make_node("LSTM", inputs, ["Y"], hidden_size=H, **attributes)
    graph = helper.make_graph([node], "lstm", values, [y], constants)
    sets = [helper.make_opsetid("", 14)]
    made = helper.make_model(graph, opset_imports=sets, ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def difference(content, feeds):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    read = openvino.Core().read_model(content)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(read, "CPU", exact)
    return float(np.abs(session.run(None, feeds)[0] - compiled(feeds)[0]).max())


X = rng.normal(size=(T, B, I)).astype("f")
lengths = {"lengths": np.array([T, 2], np.int32)}
cases = {
    "plain": difference(model([], True), {"X": X}),
    "lengths, open sizes": difference(model(["lengths"], True), {"X": X} | lengths),
    "lengths, fixed sizes": difference(model(["lengths"], False), {"X": X} | lengths),
    "peepholes": difference(model(["P"], False), {"X": X}),
    "input_forget": difference(model([], False, input_forget=1), {"X": X}),
}
for name, value in cases.items():
    print(f"{name}: differs from onnxruntime by {value:.1e}")
    obeyed = name in ("plain", "lengths, fixed sizes")
    assert value < 1e-2 if obeyed else value > 5e-2, name
PYTHON
