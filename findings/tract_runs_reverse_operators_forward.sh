#!/usr/bin/env bash
# tract: it runs ONNX's LSTM, GRU and RNN with direction = "reverse" forward, replaces the function
# Relu of an RNN by tanh, and ignores clip, without an error or a warning. Both directions together
# are right.
# onnxruntime obeys all of them.
# Seen with tract 0.23.9, onnx 1.23.2, onnxruntime 1.32.0 and NumPy 2.4.6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tract==0.23.9 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

T, B, I, H = 6, 2, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
path = f"{sys.argv[1]}/model.onnx"
rng = np.random.default_rng(0)
X = rng.normal(size=(T, B, I)).astype("f")


def run(op_type, **attributes):
    """Return the Y of onnxruntime and of tract, for weights that do not depend on the attributes."""
    rng = np.random.default_rng(1)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = {"W": (directions, GATES[op_type] * H, I), "R": (directions, GATES[op_type] * H, H)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype("f"), n) for n, s in shapes.items()]
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, I])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, directions, B, H])
    node = helper.make_node(op_type, ["X", "W", "R"], ["Y"], hidden_size=H, **attributes)
    graph = helper.make_graph([node], "recurrent", [x], [y], weights)
    sets = [helper.make_opsetid("", 14)]
    made = helper.make_model(graph, opset_imports=sets, ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = tract.onnx().load(path).into_model().into_runnable().run([X])
    return session.run(None, {"X": X})[0], np.array(result.to_numpy())


for op_type in GATES:
    for direction in ("forward", "bidirectional", "reverse"):
        exact, got = run(op_type, direction=direction)
        error = float(np.abs(exact - got).max())
        print(f"{op_type} {direction}: differs from onnxruntime by {error:.1e}")
        assert error > 5e-2 if direction == "reverse" else error < 1e-4
    forward, _ = run(op_type, direction="forward")
    assert np.abs(forward - got).max() < 1e-4
for op_type, attributes, instead in (
    ("RNN", {"activations": ["Relu"]}, {"activations": ["Tanh"]}),
    ("LSTM", {"clip": 0.5}, {}),
):
    exact, got = run(op_type, **attributes)
    other, _ = run(op_type, **instead)
    error = float(np.abs(exact - got).max())
    print(f"{op_type} {attributes}: differs from onnxruntime by {error:.1e}")
    assert error > 5e-2
    assert np.abs(other - got).max() < 1e-4
PYTHON
