"""Layers and language models to ONNX, and recurrent operators of ONNX models from it.

`export` writes a layer or a language model, `load` reads the LSTM, GRU and RNN operators of any
model, as functions of arrays, and `to_layer` makes a trainable layer of them. Needs the package
`onnx` (`pip install onnx`); onnxruntime is needed for nothing.
"""

import importlib.util

if importlib.util.find_spec("onnx") is None:
    raise ImportError(
        "rnnfast.onnx needs the package onnx, which is not installed: pip install onnx"
    )

from rnnfast.onnx.exporter import export, to_model
from rnnfast.onnx.loader import load, to_layer
from rnnfast.onnx.node import Direction, RecurrentNode

__all__ = ["Direction", "RecurrentNode", "export", "load", "to_layer", "to_model"]
