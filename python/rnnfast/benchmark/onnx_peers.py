"""Peers that run a case as an ONNX model: onnxruntime, OpenVINO and tract."""

from __future__ import annotations

import os
import sys
import tempfile

import numpy as np

from rnnfast.benchmark.case import Case, Data
from rnnfast.benchmark.peer import Contestant, UnavailableError, need


def without_telemetry() -> None:
    """Let peers report nothing to their makers.

    OpenVINO would fork the process at its import, about which JAX warns, and onnxruntime would
    start a thread that runs beside what is measured.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def onnxruntime(case: Case, data: Data) -> Contestant:
    """Return onnxruntime as a contestant."""
    model = _onnx_model("onnxruntime", case, data)
    without_telemetry()
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["y"], {"x": data.x}), lambda r: {"y": r[0][:, 0]}


def openvino(case: Case, data: Data) -> Contestant:
    """Return OpenVINO as a contestant."""
    if data.weights.weight_channel is not None:
        raise UnavailableError("openvino ignores the peepholes of ONNX models")
    model = _onnx_model("openvino", case, data)
    without_telemetry()
    from openvino import Core

    core = Core()
    options = {
        "INFERENCE_NUM_THREADS": case.threads,
        "INFERENCE_PRECISION_HINT": "f32",  # CPUs with bfloat16 would use it
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    return lambda: compiled({"x": data.x}), lambda r: {"y": np.array(r["y"])[:, 0]}


def tract(case: Case, data: Data) -> Contestant:
    """Return tract as a contestant."""
    model = _onnx_model("tract", case, data)
    if case.threads != 1:
        raise UnavailableError("tract uses one thread")
    import tract

    from rnnfast._engine import onnx_layout as layout

    if "Relu" in layout.OPERATORS[case.cell].activations:
        raise UnavailableError("tract ignores the activation of ONNX's RNN")

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model)
        file.flush()
        compiled = tract.onnx().load(file.name).into_model().into_runnable()
    return lambda: compiled.run([data.x]), lambda r: {"y": r[0].to_numpy()[:, 0]}


def _onnx_model(peer: str, case: Case, data: Data) -> bytes:
    """Return the case as one ONNX operator with the input x (T, B, I) and output y (T, 1, B, H)."""
    need(peer, "onnx")
    if case.training:
        raise UnavailableError(f"{peer} does not train")
    if case.dtype != "float32":
        raise UnavailableError(f"{peer} runs the recurrent operators in float32, not {case.dtype}")
    from onnx import TensorProto, checker, helper, numpy_helper

    from rnnfast._engine import onnx_layout as layout

    if case.cell not in layout.OPERATORS:
        raise UnavailableError(f"{peer} has no cell {case.cell}")
    T, B, I, H = case.shape
    constants = layout.to_onnx(case.cell, [data.weights])
    inputs = layout.inputs({"X": "x", **{name: name for name in constants}})
    attributes = layout.attributes(case.cell, H, 1)
    graph = helper.make_graph(
        [helper.make_node(layout.OPERATORS[case.cell].op_type, inputs, ["y"], **attributes)],
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())
