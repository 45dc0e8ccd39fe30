"""Run exported models in runtimes other than onnxruntime, with sizes that are open or fixed."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import onnx_models

Feeds = Mapping[str, np.ndarray]
Runtime = Callable[[Any, Feeds], list[np.ndarray]]


def in_onnxruntime(model: Any, feeds: Feeds) -> list[np.ndarray]:
    return list(onnx_models.session(model).run(None, dict(feeds)))


def in_reference(model: Any, feeds: Feeds) -> list[np.ndarray]:
    return list(ReferenceEvaluator(model).run(None, dict(feeds)))


def in_openvino(model: Any, feeds: Feeds) -> list[np.ndarray]:
    return _in_openvino(model, feeds, fixed=False)


def in_openvino_fixed(model: Any, feeds: Feeds) -> list[np.ndarray]:
    return _in_openvino(model, feeds, fixed=True)


def _in_openvino(model: Any, feeds: Feeds, fixed: bool) -> list[np.ndarray]:
    openvino = imported("openvino")
    read = openvino.Core().read_model(model.SerializeToString())
    if fixed:
        read.reshape({name: value.shape for name, value in feeds.items()})
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(read, "CPU", exact)
    results = compiled(dict(feeds))
    return [results[output] for output in compiled.outputs]


def in_tract(model: Any, feeds: Feeds) -> list[np.ndarray]:
    tract = imported("tract")
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        read = tract.onnx().load(file.name)
    names = [read.input_name(k) for k in range(read.input_count())]
    if set(names) != set(feeds):
        raise ValueError(f"expected values for {names}, got {list(feeds)}")
    for k, name in enumerate(names):
        letter, size = feeds[name].dtype.kind, 8 * feeds[name].dtype.itemsize
        shape = ",".join(map(str, feeds[name].shape))
        read.set_input_fact(k, f"{shape},{letter}{size}")
    results = read.into_model().into_runnable().run([feeds[name] for name in names])
    return [np.array(result.to_numpy()) for result in results]


def imported(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": in_onnxruntime,
    "OpenVINO, open sizes": in_openvino,
    "OpenVINO, fixed sizes": in_openvino_fixed,
    "tract": in_tract,
    "ReferenceEvaluator": in_reference,
}
"""The runtimes by the columns of the table in docs/onnx.md."""
