"""Building ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from rnnfast._version import __version__

_OPSET, _IR_VERSION = 14, 8  # the oldest that have everything used here, for old runtimes


class GraphBuilder:
    """A builder of an ONNX graph; callers name the values.

    Args:
        dtype: The type of its real values.

    Attributes:
        dtype: See above.
        kind: ONNX's number of this type.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.kind = int(helper.np_dtype_to_tensor_dtype(dtype))
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(
        self, name: str, shape: Sequence[str | int], dtype: np.dtype[Any] | None = None
    ) -> str:
        """Add an input, by default of the graph's type, and return its name."""
        self._inputs.append(self._value(name, shape, dtype or self.dtype))
        return name

    def output(self, name: str, shape: Sequence[str | int]) -> None:
        """Make a value an output."""
        self._outputs.append(self._value(name, shape, self.dtype))

    def real(self, name: str, values: NDArray[Any]) -> str:
        """Return a constant of the graph's type."""
        self._constants.append(numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def integers(self, name: str, values: Sequence[int] | int, dtype: DTypeLike = np.int64) -> str:
        """Return a constant of integers."""
        self._constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, op_type: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node, named as its first output, which is returned."""
        self._nodes.append(
            helper.make_node(op_type, inputs, outputs, name=outputs[0], **attributes)
        )
        return outputs[0]

    def model(self, name: str) -> Any:
        """Return the model of the graph."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="rnnfast",
            producer_version=__version__,
        )

    @staticmethod
    def _value(name: str, shape: Sequence[str | int], dtype: np.dtype[Any]) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        return helper.make_tensor_value_info(name, kind, shape)
