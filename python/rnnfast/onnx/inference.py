"""Inference of shapes by onnx in a process of its own, as some damaged models make it abort."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from onnx import ModelProto, shape_inference

_LONGEST = 60  # seconds; inference for a model without its weights takes milliseconds
_PROGRAM = """
import sys
sys.path[:] = sys.argv[1:]
from onnx import ModelProto, shape_inference
model = ModelProto.FromString(sys.stdin.buffer.read())
inferred = shape_inference.infer_shapes(model, data_prop=True)
sys.stdout.buffer.write(inferred.SerializeToString())
"""


def infer_shapes(model: Any) -> Any | None:
    """Return a model with the shapes that onnx infers, or None if it fails."""
    if getattr(sys, "frozen", False) or not sys.executable:  # there is no interpreter to start
        return _infer_here(model)
    command = [sys.executable, "-I", "-c", _PROGRAM, *sys.path]
    try:
        done = subprocess.run(
            command,
            input=model.SerializeToString(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LONGEST,
            check=True,
        )
    except subprocess.SubprocessError:
        return None
    return ModelProto.FromString(done.stdout)


def _infer_here(model: Any) -> Any | None:
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # onnx raises errors of any type
        return None
