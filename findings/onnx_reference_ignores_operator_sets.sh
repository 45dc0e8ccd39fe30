#!/usr/bin/env bash
# onnx: its reference evaluator runs a Softmax of operator set 11 as one of 13. Before set 13 the
# operator joins all axes from `axis` (by default 1) on, so that four equal inputs give 0.25 each;
# the evaluator normalises only the last axis and gives 0.5, without a warning. For a single node it
# also drops its `opsets` argument and takes the newest set.
# onnxruntime computes the same model as the standard says.
# Seen with onnx 1.23.2 and onnxruntime 1.32.0: 0.5 against 0.25; opsets {'': 28}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

node = helper.make_node("Softmax", ["x"], ["y"])
tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 2]) for name in "xy"]
graph = helper.make_graph([node], "softmax", tensors[:1], tensors[1:])
sets = [helper.make_opsetid("", 11)]
model = helper.make_model(graph, opset_imports=sets, ir_version=6)
onnx.checker.check_model(model)
x = np.ones((1, 2, 2), np.float32)
(reference,) = ReferenceEvaluator(model).run(None, {"x": x})
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(runtime,) = session.run(None, {"x": x})
single = ReferenceEvaluator(node, opsets={"": 11})
print("reference", reference.ravel(), "onnxruntime", runtime.ravel(), "opsets of a node", single.opsets)
assert np.allclose(reference, 0.5)
assert np.allclose(runtime, 0.25)
assert single.opsets[""] > 13
PYTHON
