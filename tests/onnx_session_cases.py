"""Operators for sessions, each with inputs, and models of them.

The tests of `rnnfast.onnx.Session` use this module, which needs onnx and onnxruntime.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import onnx_models
import rnnfast.onnx

RNG = np.random.default_rng(1)


def reals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(reals(*shape)) + np.float32(0.1)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def flags(*shape: int) -> np.ndarray:
    return RNG.random(shape) < 0.5


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


@dataclass
class One:
    """A node with its inputs; None stands for one that is absent.

    Attributes:
        terms: How many terms the sums in a result have.
        only_constants: Whether onnxruntime requires all inputs but the first to be constants.
    """

    op_type: str
    inputs: list[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    terms: int = 0
    only_constants: bool = False

    def __str__(self) -> str:
        shapes = ["none" if x is None else "x".join(map(str, x.shape)) for x in self.inputs]
        parts = [self.op_type, str(self.opset), *shapes, *map(str, self.attributes.items())]
        return "-".join(parts).replace(" ", "")


def same(op_types: str, *makers: Callable[[], np.ndarray]) -> list[One]:
    return [One(op_type, [make() for make in makers]) for op_type in op_types.split()]


X = reals(2, 3, 4)
BYTES = RNG.integers(0, 255, (2, 6), np.uint8)
SIGNED = RNG.integers(-128, 127, (6, 5)).astype(np.int8)
ONES = [
    *same("Abs Ceil Cos Exp Floor Identity Neg Round Sign Sin Tanh Sigmoid Relu Erf", lambda: X),
    *same("Elu HardSigmoid LeakyRelu Softplus Softsign Flatten Transpose", lambda: X),
    *same("Shape Size Dropout ArgMax ArgMin Softmax LogSoftmax GlobalAveragePool", lambda: X),
    *same("ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum", lambda: X),
    *same("ReduceProd ReduceSumSquare", lambda: X),
    *same("Sqrt Log Reciprocal", lambda: positive(3, 4)),
    *same("Add Sub Mul Div Max Min Sum", lambda: X, lambda: reals(3, 1)),
    *same("Equal Greater GreaterOrEqual Less LessOrEqual", lambda: X, lambda: X.round()),
    *same("And Or Xor", lambda: flags(2, 3), lambda: flags(3)),
    *same("Not", lambda: flags(2, 3)),
    One("Add", [np.array([[1, 2]]), ints(3, 4)]),
    One("ArgMax", [X.round()], {"axis": -1, "keepdims": 0, "select_last_index": 1}),
    One("AveragePool", [X], {"kernel_shape": [2], "pads": [1, 0]}),
    One("AveragePool", [X], {"kernel_shape": [2], "pads": [1, 0], "count_include_pad": 1}),
    One("BatchNormalization", [X, reals(3), reals(3), reals(3), positive(3)], {"epsilon": 0.01}),
    One("Cast", [X * 5], {"to": TensorProto.INT64}),
    One("Cast", [X], {"to": TensorProto.FLOAT}),
    One("Clip", [X, number(-0.5), number(0.3)]),
    One("Clip", [X, None, number(0.3)]),
    One("Clip", [X], {"min": -0.5, "max": 0.4}, opset=10),
    One("Concat", [X, reals(2, 1, 4), X], {"axis": -2}),
    One("ConstantOfShape", [ints(2, 3)]),
    One("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(np.array([7]))}),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4), reals(5)], {"pads": [1, 2]}, terms=12),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 3)], {"strides": [2], "dilations": [2]}, terms=9),
    One("Conv", [reals(2, 4, 9), reals(6, 2, 3), reals(6)], {"group": 2}, terms=6),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4)], {"auto_pad": "SAME_UPPER"}, terms=12),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4)], {"auto_pad": "SAME_LOWER"}, terms=12),
    One("Conv", [reals(2, 3, 9), reals(5, 3, 4)], {"auto_pad": "VALID"}, terms=12),
    One("Conv", [reals(1, 3, 7, 8), reals(4, 3, 3, 2), reals(4)], {"pads": [1, 0, 1, 1]}, terms=18),
    One("Conv", [reals(1, 3, 7, 8), reals(4, 3, 3, 3)], {"strides": [2, 3]}, terms=27),
    One("ConvInteger", [BYTES[:, None], SIGNED[:, None, :3], BYTES[0, 0]], {"pads": [1, 1]}, 10),
    One("DequantizeLinear", [SIGNED, number(0.3), np.int8(3)], only_constants=True),
    One("DequantizeLinear", [SIGNED, positive(5), SIGNED[0]], {"axis": 1}, only_constants=True),
    One("Div", [np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])]),
    One("Div", [np.array([7, 8], np.uint8), np.array([2, 3], np.uint8)]),
    One("DynamicQuantizeLinear", [X], opset=11, outputs=3),
    One("DynamicQuantizeLinear", [np.zeros((2, 2), np.float32)], opset=11, outputs=3),
    One("Elu", [X], {"alpha": 0.4}),
    One("Expand", [reals(3, 1), ints(2, 1, 4)]),
    One("Flatten", [X], {"axis": -1}),
    One("Flatten", [X], {"axis": 0}),
    One("Gather", [X, np.array([[0, -1], [2, 1]])], {"axis": 1}),
    One("Gather", [X, np.array(1)]),
    One("GatherElements", [X, RNG.integers(0, 3, (2, 3, 4))], {"axis": 1}),
    One("Gelu", [X], opset=20),
    One("Gelu", [X], {"approximate": "tanh"}, opset=20),
    One("Gemm", [reals(4, 5), reals(5, 6), reals(6)], terms=5),
    One("Gemm", [reals(4, 5), reals(6, 5), reals(1, 6)], {"transB": 1}, terms=5),
    One("Gemm", [reals(4, 5), reals(6, 5), reals(4, 6)], {"transB": 1, "beta": 0.5}, terms=5),
    One("Gemm", [reals(5, 4), reals(5, 6)], {"transA": 1, "alpha": 2.0}, terms=5),
    One("HardSigmoid", [X], {"alpha": 0.3, "beta": 0.6}),
    One("LayerNormalization", [X, reals(4), reals(4)], {"epsilon": 0.01}, terms=4),
    One("LayerNormalization", [X, reals(3, 4)], {"axis": 1}, terms=12),
    One("LogSoftmax", [X], {"axis": 1}, opset=12),
    One("MatMul", [X, reals(4, 5)], terms=4),
    One("MatMul", [reals(4), reals(4, 5)], terms=4),
    One("MatMul", [X, reals(2, 4, 5)], terms=4),
    One("MatMulInteger", [BYTES, SIGNED, BYTES[0, 0], np.int8(3)], opset=10),
    One("MatMulInteger", [BYTES, SIGNED], opset=10),
    One("MaxPool", [reals(2, 3, 9, 8)], {"kernel_shape": [3, 2], "strides": [2, 1]}),
    One("MaxPool", [X], {"kernel_shape": [3], "pads": [1, 1], "dilations": [1]}),
    One("Mod", [X * 9, reals(3, 4)], {"fmod": 1}),
    One("Mod", [ints(7, -7, 7, -7), ints(3, 3, -3, -3)]),
    One("PRelu", [X, reals(3, 1)]),
    One("Pad", [X, ints(0, 1, 2, 1, 0, 0), number(0.5)]),
    One("Pad", [X, ints(0, -1, 2, 0, 0, -1)]),
    One("Pad", [X, ints(0, 1, 2, 0, 0, 3)], {"mode": "reflect"}),
    One("Pad", [X, ints(0, 1, 2, 1, 0, 3)], {"mode": "edge"}),
    One("Pad", [X, ints(2, 1), None, ints(-1)]),
    One("Pad", [X], {"pads": [0, 0, 1, 0, 0, 2], "value": 1.5}, opset=10),
    One("Pow", [positive(3, 4), number(2)]),
    One("Pow", [positive(3, 4), np.array(3)]),
    One("QuantizeLinear", [X * 40, number(0.3), np.int8(3)], only_constants=True),
    One("QuantizeLinear", [X, positive(3), np.uint8([1, 2, 3])], {"axis": 1}, only_constants=True),
    One("Range", [ints(3)[0], ints(20)[0], ints(4)[0]]),
    One("ReduceMax", [X], {"axes": [0, -1], "keepdims": 0}, opset=17),
    One("ReduceMean", [X], {"axes": [1]}, opset=17),
    One("ReduceMean", [X, ints(-1)]),
    One("ReduceSum", [X, ints(0, 2)], {"keepdims": 0}),
    One("ReduceSum", [X], {"noop_with_empty_axes": 1}),
    One("Reshape", [X, ints(0, -1)]),
    One("Reshape", [np.zeros((2, 0, 3), np.float32), ints(0, 5)], {"allowzero": 1}),
    One("ReverseSequence", [X, ints(1, 0, 2)]),
    One("ReverseSequence", [X, ints(3, 2)], {"batch_axis": 0, "time_axis": 1}),
    One("Shape", [X], {"start": -2, "end": -1}),
    One("Slice", [X, ints(1, 3), ints(2**62, -(2**62)), ints(1, -1), ints(1, -2)]),
    One("Slice", [X, ints(-1), ints(1), ints(2), ints(-1)]),
    One("Slice", [X], {"starts": [0, 1], "ends": [1, -1], "axes": [0, 2]}, opset=9),
    One("Softmax", [X], {"axis": 1}),
    One("Softmax", [X], opset=11),
    One("Split", [X, ints(1, 2)], {"axis": 1}, outputs=2),
    One("Split", [X], {"axis": 1, "num_outputs": 2}, outputs=2),
    One("Split", [X], {"axis": -1, "split": [1, 3]}, opset=11, outputs=2),
    One("Squeeze", [reals(1, 3, 1)]),
    One("Squeeze", [reals(1, 3, 1), ints(-1)]),
    One("Squeeze", [reals(1, 3, 1)], {"axes": [0]}, opset=11),
    One("Tile", [X, ints(2, 1, 3)]),
    One("Transpose", [X], {"perm": [2, 0, 1]}),
    One("Unsqueeze", [X, ints(0, -1)]),
    One("Unsqueeze", [X], {"axes": [1]}, opset=11),
    One("Where", [flags(2, 1), reals(3), reals(2, 3)]),
]


def build(one: One, constants: bool) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a model of a node, and its inputs; all but the first may be constants."""
    names = ["" if x is None else f"in{k}" for k, x in enumerate(one.inputs)]
    values = {n: np.asarray(x) for n, x in zip(names, one.inputs, strict=True) if x is not None}
    kept = dict(itertools.islice(values.items(), 1, None)) if constants else {}
    outputs = [f"out{k}" for k in range(one.outputs)]
    node = helper.make_node(one.op_type, names, outputs, name="the_node", **one.attributes)
    feeds = {name: value for name, value in values.items() if name not in kept}
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    opset = helper.make_opsetid("", one.opset)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8), feeds


def assert_as_onnxruntime(model: Any, feeds: dict[str, np.ndarray], terms: int = 0) -> None:
    """Check two calls, of which the second follows the plan of the first."""
    expected = onnx_models.session(model).run(None, feeds)
    session = rnnfast.onnx.Session(model)
    for got in (session.run(None, feeds), session.run(None, feeds)):
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            assert ours.flags.c_contiguous
            assert ours.flags.writeable
            if ours.dtype.kind == "f":  # functions are exact to 8 ulp, sums to an ulp per term
                scale = max(1, np.abs(theirs).max(initial=0))
                bound = (8 + terms) * np.finfo(ours.dtype).eps * scale
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound)
            else:
                np.testing.assert_array_equal(ours, theirs)
