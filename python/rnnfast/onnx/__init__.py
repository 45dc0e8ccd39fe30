"""Export to ONNX, import of recurrent operators from it, and inference of whole ONNX models.

`export` writes a layer or a language model. `load` reads the LSTM, GRU and RNN operators of any
model as functions of arrays, and `to_layer` builds a trainable layer from them. A `Session` runs a
whole model. This package needs `onnx` (`pip install onnx`), but not onnxruntime.
"""

import importlib.util

if importlib.util.find_spec("onnx") is None:
    raise ImportError(
        "rnnfast.onnx needs the package onnx, which is not installed: pip install onnx"
    )

from rnnfast.onnx.exporter import export, to_model
from rnnfast.onnx.loader import load, to_layer
from rnnfast.onnx.node import Direction, RecurrentNode
from rnnfast.onnx.session import Input, Session

__all__ = [
    "Direction",
    "Input",
    "RecurrentNode",
    "Session",
    "export",
    "load",
    "to_layer",
    "to_model",
]
