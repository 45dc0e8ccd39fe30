#!/usr/bin/env bash
# OpenVINO: it reads an ONNX LSTM with peepholes (the input P) and computes one without, and neither
# an error nor a warning says so: the results are those of the same model with P = 0. onnxruntime
# and the operator's definition use P.
# Seen with OpenVINO 2026.4.1 and onnxruntime 1.32.0: OpenVINO's outputs do not change with P.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps openvino==2026.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from openvino import Core

H = 4


def model_with(peepholes):
    arrays = {
        "W": rng_of(1).standard_normal((1, 4 * H, 3)),
        "R": rng_of(2).standard_normal((1, 4 * H, H)),
        "B": np.zeros((1, 8 * H)),
        "P": peepholes,
    }
    constants = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    inputs = ["x", "W", "R", "B", "", "", "", "P"]
    graph = helper.make_graph(
        [helper.make_node("LSTM", inputs, ["y"], hidden_size=H)],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1, 2, H])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def rng_of(seed):
    return np.random.default_rng(seed)


def with_openvino(model, x):
    core = Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(model), "CPU", options)({"x": x})["y"]


def with_onnxruntime(model, x):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


x = rng_of(3).standard_normal((5, 2, 3)).astype(np.float32)
without, peepholed = model_with(np.zeros((1, 3 * H))), model_with(np.ones((1, 3 * H)))
for name, run in (("openvino", with_openvino), ("onnxruntime", with_onnxruntime)):
    change = np.abs(run(peepholed, x) - run(without, x)).max()
    print(f"{name}: peepholes of 1 change the outputs by {change:.3g}")
    assert (change == 0) == (name == "openvino")
assert np.allclose(with_openvino(without, x), with_onnxruntime(without, x), atol=1e-5)
PYTHON
