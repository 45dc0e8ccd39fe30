#!/usr/bin/env bash
# onnxruntime: Sigmoid in float32 is not monotonic, and its small values have no correct digit. Its
# absolute error of about 1e-7 is as large as the result from x = -16 on: sigmoid(-17.3) is 0, while
# sigmoid(-17.3887558) is 1.2e-07, four times the true value. A logarithm of such a probability is
# wrong, or infinite, long before float32 ends (the true sigmoid(-87) is 1e-38).
# Seen with onnxruntime 1.32.0 on x86-64 (AVX-512): from -20 to -10 the values fall at 820 of 4000
# steps; at -17.3: 0.0, at -17.3887558: 1.192e-07, exact 2.806e-08.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
graph = helper.make_graph(
    [helper.make_node("Sigmoid", ["x"], ["y"])], "sigmoid", tensors[:1], tensors[1:]
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def sigmoid(x):
    return session.run(None, {"x": np.asarray(x, np.float32)})[0]


y = sigmoid(np.linspace(-20, -10, 4001))
falls = int((np.diff(y) < 0).sum())
higher, lower = sigmoid([-17.3] * 8)[0], sigmoid([-17.3887558] * 8)[0]
exact = 1 / (1 + np.exp(17.3887558))
print(f"falls {falls} times; at -17.3: {higher}, at -17.3887558: {lower:.3e}, exact {exact:.3e}")
assert falls > 100
assert higher < lower / 2
assert lower > 3 * exact
PYTHON
