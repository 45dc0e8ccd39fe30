"""The operators of ONNX that are evaluated, with bounds for the sizes of their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

DOMAINS = ("", "ai.onnx")


def is_evaluated(node: Any) -> bool:
    """Return whether this module can evaluate the operator of a node."""
    return node.op_type in _SIZES and node.domain in DOMAINS


def evaluated_opsets(node: Any, opsets: Mapping[str, int]) -> dict[str, int]:
    """Return the operator sets to evaluate a node: the model's, or the oldest supported ones."""
    return {**opsets, "": max(opsets.get("", 0), _OLDEST.get(node.op_type, 0))}


def elements(node: Any, arguments: list[NDArray[Any]]) -> int:
    """Return an upper bound on the number of elements that an evaluated node computes."""
    return max(0, int(_SIZES[node.op_type](node, arguments)))


_OLDEST = {"DequantizeLinear": 19}  # which supports more types than version 10
_Size: TypeAlias = "Callable[[Any, list[NDArray[Any]]], Any]"


def _as_inputs(_: Any, arguments: list[NDArray[Any]]) -> int:
    return sum(a.size for a in arguments)


def _axes(_: Any, arguments: list[NDArray[Any]]) -> int:
    return arguments[0].ndim


def _broadcast(_: Any, arguments: list[NDArray[Any]]) -> int:
    return math.prod(np.broadcast_shapes(*(a.shape for a in arguments)))


def _constant(node: Any, _: list[NDArray[Any]]) -> int:
    if any(attribute.name == "sparse_value" for attribute in node.attribute):
        raise ValueError("sparse tensors are not supported")
    return 0  # the numbers are in the file


def _cast(node: Any, arguments: list[NDArray[Any]]) -> int:
    if any(attribute.i == onnx.TensorProto.STRING for attribute in node.attribute):
        raise ValueError("strings are not supported")
    return arguments[0].size


def _of_shape(_: Any, arguments: list[NDArray[Any]]) -> int:
    return math.prod(_integers(arguments[0]))


def _expanded(_: Any, arguments: list[NDArray[Any]]) -> int:
    return math.prod(np.broadcast_shapes(arguments[0].shape, tuple(_integers(arguments[1]))))


def _tiled(_: Any, arguments: list[NDArray[Any]]) -> int:
    return arguments[0].size * math.prod(_integers(arguments[1]))


def _counted(_: Any, arguments: list[NDArray[Any]]) -> int:
    start, limit, delta = (float(a) for a in arguments)
    return max(0, math.ceil((limit - start) / delta))


def _gathered(node: Any, arguments: list[NDArray[Any]]) -> Any:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return arguments[1].size * (arguments[0].size // max(1, arguments[0].shape[axis]))


def _padded(node: Any, arguments: list[NDArray[Any]]) -> int:
    attribute = next((a.ints for a in node.attribute if a.name == "pads"), ())
    pads = sum(map(abs, _integers(arguments[1]) if len(arguments) > 1 else attribute))
    return math.prod(n + pads for n in arguments[0].shape)


def _product(_: Any, arguments: list[NDArray[Any]]) -> Any:
    a, b = (np.atleast_2d(value) for value in arguments[:2])
    outer = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    return outer * max(a.shape[-2:]) * max(b.shape[-2:])


def _integers(values: NDArray[Any]) -> Iterable[int]:
    return (int(value) for value in values.reshape(-1))


def _sizes(size: _Size, names: str) -> dict[str, _Size]:
    return dict.fromkeys(names.split(), size)


_SIZES = (
    _sizes(
        _as_inputs,
        "Identity CastLike Transpose Reshape Squeeze Unsqueeze Flatten Concat "
        "Split Slice Dropout DequantizeLinear QuantizeLinear ReverseSequence ScatterElements "
        "ScatterND ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 "
        "ReduceSumSquare",
    )
    | _sizes(
        _broadcast,
        "Add Sub Mul Div Neg Abs Sqrt Reciprocal Pow Exp Log Tanh Sigmoid Relu Min Max Where Equal "
        "Greater Less GreaterOrEqual LessOrEqual Not And Or Floor Ceil Round Sign Mod Clip",
    )
    | _sizes(_product, "MatMul Gemm")
    | _sizes(_axes, "Shape Size")
    | {
        "Constant": _constant,
        "Cast": _cast,
        "ConstantOfShape": _of_shape,
        "Expand": _expanded,
        "Tile": _tiled,
        "Range": _counted,
        "Gather": _gathered,
        "Pad": _padded,
    }
)
"""The operators that are evaluated, with bounds on the number of elements that they create."""
