#!/usr/bin/env bash
# onnx: its reference evaluator cannot run GatherElements along an axis of 64 elements or more, as it
# passes each of them as an argument of numpy.choose, which takes 64 arrays. Mostly it fails, with
# messages about "array objects", shapes or indices; but for a column and indices of 0 along axis 0,
# it returns the column itself, without a warning, instead of its first element everywhere.
# onnxruntime runs the same models as the standard says.
# Seen with onnx 1.23.2, onnxruntime 1.32.0 and NumPy 2.4.6: 63 rows are right, 64 and 65 are not.
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

rng = np.random.default_rng(0)


def run(indices_below, *shape):
    """Return the results of the evaluator (None if it fails), onnxruntime and NumPy."""
    node = helper.make_node("GatherElements", ["x", "indices"], ["y"], axis=0)
    kinds = {"x": TensorProto.FLOAT, "indices": TensorProto.INT64, "y": TensorProto.FLOAT}
    x, indices, y = (helper.make_tensor_value_info(n, k, shape) for n, k in kinds.items())
    graph = helper.make_graph([node], "gather", [x, indices], [y])
    sets = [helper.make_opsetid("", 14)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    onnx.checker.check_model(model)
    feeds = {"x": rng.random(shape, np.float32), "indices": rng.integers(0, indices_below, shape)}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (runtime,) = session.run(None, feeds)
    expected = np.take_along_axis(feeds["x"], feeds["indices"], 0)
    try:
        (reference,) = ReferenceEvaluator(model).run(None, feeds)
    except (IndexError, ValueError) as error:
        print(shape, "the evaluator fails:", error)
        reference = None
    else:
        print(shape, "the evaluator is right:", np.array_equal(reference, expected))
    return reference, runtime, expected


for shape in ((63, 2), (64, 2), (65, 2), (63, 2, 2), (65, 2, 2)):
    reference, runtime, expected = run(shape[0], *shape)
    assert np.array_equal(runtime, expected)
    assert (reference is None) == (shape[0] > 63)
    assert reference is None or np.array_equal(reference, expected)
for rows in (63, 65):
    reference, runtime, expected = run(1, rows, 1)
    assert np.array_equal(runtime, expected)
    assert np.array_equal(reference, expected) == (rows == 63)
PYTHON
