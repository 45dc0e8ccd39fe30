"""Inference of shapes by onnx in a process of its own, as some damaged models make it abort."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import onnx

_LONGEST = 60  # seconds; inference for a model without its weights takes milliseconds
_PROGRAM = """
import sys
sys.path[:] = sys.argv[1:]
import onnx
model = onnx.ModelProto.FromString(sys.stdin.buffer.read())
inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
sys.stdout.buffer.write(inferred.SerializeToString())
"""


def infer_shapes(model: Any) -> Any:
    """Return a model with the shapes that onnx infers.

    Raises:
        Exception: Inference fails, ends its process, or takes too long.
    """
    if getattr(sys, "frozen", False) or not sys.executable:  # there is no interpreter to start
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM, *sys.path],
        input=model.SerializeToString(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_LONGEST,
        check=True,
    )
    return onnx.ModelProto.FromString(done.stdout)
