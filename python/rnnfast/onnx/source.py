"""Opening of ONNX models, and advice for those without recurrent operators."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any

import onnx

from rnnfast import _files
from rnnfast.onnx.values import inner_graphs

_KERAS = (
    "if they are recurrent layers exported from Keras, take the weights from Keras instead: "
    "rnnfast.load_keras_weights(layer, keras_layer.get_weights(), keras_layer.get_config())"
)
_UNROLLED = (
    "if they are the steps of an unrolled recurrent layer, export it as one operator: "
    "torch.onnx.export(..., dynamo=False), or take its weights from PyTorch or Keras: "
    "rnnfast.load_torch_state_dict, rnnfast.load_keras_weights"
)


def opened(source: str | PathLike[str] | bytes | Any) -> Any:
    """Return the model of a path, of a file's bytes, or of an `onnx.ModelProto`.

    Raises:
        ValueError: It is not an ONNX model.
        OSError: The file cannot be read, or it is not a regular file.
        TypeError: It is none of these.
    """
    if isinstance(source, onnx.ModelProto):
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        model = _parsed("these bytes", lambda: onnx.load_model_from_string(bytes(source)))
    elif isinstance(source, (str, PathLike)):
        path = fspath(source)
        _files.open_to_read(path).close()  # onnx would wait for the writer of a pipe
        model = _parsed(str(path), lambda: onnx.load(path))
    else:
        raise TypeError(
            "source: expected a path, the bytes of a file or an onnx.ModelProto, got "
            f"{type(source).__name__}"
        )
    return model


def advice(model: Any) -> str:
    """Return what a model without recurrent operators has instead, and what to do about it."""
    types = sorted({node.op_type for node in all_nodes(model.graph)})
    found = f"got nodes of {', '.join(types) or 'nothing'}"
    loops = [name for name in ("Loop", "Scan") if name in types]
    if loops:
        return f"{found}; {' and '.join(loops)} are loops: {_KERAS}"
    if {"Tanh", "Sigmoid"} & set(types) and {"MatMul", "Gemm"} & set(types):
        return f"{found}; {_UNROLLED}"
    return found


def _parsed(label: str, parse: Any) -> Any:
    try:
        model = parse()
    except OSError:
        raise
    except Exception as error:  # onnx raises errors of any type
        raise ValueError(f"source: cannot read {label} as an ONNX model: {error}") from error
    if not model.HasField("graph"):
        raise ValueError(f"source: cannot read {label} as an ONNX model: it has no graph")
    return model


def all_nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in inner_graphs(attribute):
                yield from all_nodes(inner)
