"""Sessions, which run whole ONNX models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import helper

from rnnfast._engine import backends, checks
from rnnfast.onnx.functions import inlined
from rnnfast.onnx.quantized import dequantized
from rnnfast.onnx.session.block import parsed
from rnnfast.onnx.session.operations import missing
from rnnfast.onnx.session.plan import Limits, PlannedGraph
from rnnfast.onnx.shapes import opset_versions
from rnnfast.onnx.source import opened
from rnnfast.onnx.values import array_of, stored


class Input(NamedTuple):
    """An input of a model.

    Attributes:
        name: Its name.
        shape: Its shape: numbers, and names for sizes that are not fixed; None if it is not known.
        dtype: Its dtype.
    """

    name: str
    shape: tuple[int | str, ...] | None
    dtype: np.dtype[Any]


class Session:
    """A whole ONNX model as a function of arrays, as onnxruntime's `InferenceSession`.

    Recurrent operators, products and convolutions are computed by the kernels of rnnfast, and all
    others by NumPy. A call with new shapes makes a plan: whatever depends on shapes and constants
    alone is computed once and for all. Only one thread at a time may use a session.

    Attributes:
        inputs: What the model takes, as `Input` tuples. Those with a default come last.
        outputs: The names of what it returns.

    Args:
        source: A path, the bytes of a file, or an `onnx.ModelProto`.

    Raises:
        ValueError: The source is not an ONNX model, or has operators that a session cannot run; the
            message lists them.
        TypeError: `source` has another type.
        OSError: The file cannot be read, or it is not a regular file.
    """

    def __init__(self, source: str | PathLike[str] | bytes | Any) -> None:
        model = dequantized(inlined(opened(source)))
        graph = model.graph
        try:
            block = parsed(graph)
            defaults = {t.name: array_of(t) for t in graph.initializer}
            infos = [_info(value) for value in graph.input]
            self.outputs = [value.name for value in graph.output]
        except RecursionError as error:
            raise ValueError("source: expected branches that are not nested so deep") from error
        unknown = missing(block)
        if unknown:
            raise ValueError(
                f"source: expected operators that a session runs, got {', '.join(sorted(unknown))}"
            )
        required = [info for info in infos if info.name not in defaults]
        optional = [info for info in infos if info.name in defaults]
        self.inputs = required + optional
        self._defaults = {info.name: defaults[info.name] for info in optional}
        limits = Limits(opset_versions(model.opset_import), 2**20 + 8 * stored(graph))
        self._graph = PlannedGraph(block, [info.name for info in self.inputs], {}, limits)

    def run(
        self, output_names: Sequence[str] | None, inputs: Mapping[str, ArrayLike]
    ) -> list[NDArray[Any]]:
        """Run the model.

        Args:
            output_names: The outputs to return; None for all, in the order of `outputs`.
            inputs: Arrays by the names of the inputs, of the dtypes in `Session.inputs`; an input
                with a default may be left out.

        Returns:
            The outputs.

        Raises:
            ValueError: A name or a shape is wrong, or an operator fails, which the message names.
            TypeError: An array has another dtype than the input, or is masked.
            MemoryError: A result does not fit into memory.
        """
        names = self.outputs
        if isinstance(output_names, str) or not isinstance(output_names, Sequence | None):
            raise TypeError(
                f"output_names: expected a list of names or None, got {type(output_names).__name__}"
            )
        checks.of_type("inputs", inputs, Mapping)
        chosen = names if output_names is None else list(output_names)
        unknown = [name for name in chosen if name not in names]
        if unknown:
            raise ValueError(f"output_names: expected names from {names}, got {unknown}")
        unknown = [name for name in inputs if name not in {info.name for info in self.inputs}]
        if unknown:
            expected = [info.name for info in self.inputs]
            raise ValueError(f"inputs: expected names from {expected}, got {unknown}")
        arrays = [self._checked(info, inputs) for info in self.inputs]
        with np.errstate(all="ignore"):  # infinities and NaN are results like others, as in ONNX
            results = dict(zip(names, self._graph(arrays), strict=True))
        return [_own(results[name], arrays) for name in chosen]

    def _checked(self, info: Input, inputs: Mapping[str, ArrayLike]) -> NDArray[Any]:
        """Return an input after checking it."""
        value = inputs.get(info.name, self._defaults.get(info.name))
        if value is None:
            raise ValueError(f"inputs: expected a value for {info.name!r}, got none")
        array = backends.array_of(info.name, value)
        if array.dtype != info.dtype:
            raise TypeError(f"{info.name}: expected dtype {info.dtype}, got {array.dtype}")
        if info.shape is not None:
            fits = len(info.shape) == array.ndim and all(
                isinstance(size, str) or size == n
                for size, n in zip(info.shape, array.shape, strict=True)
            )
            if not fits:
                shape = ", ".join(map(str, info.shape))
                raise ValueError(f"{info.name}: expected shape ({shape}), got {array.shape}")
        return array


def _own(result: NDArray[Any], inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return a result in C order and in memory that is neither an input's nor a constant's."""
    shares = not result.flags.writeable or any(np.may_share_memory(result, x) for x in inputs)
    return np.array(result, order="C", copy=True if shares else None)


def _info(value: Any) -> Input:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"source: expected tensors as inputs, got another type in {value.name!r}")
    shape = None
    if kind.HasField("shape"):
        shape = tuple(
            d.dim_value if d.dim_value > 0 else d.dim_param or f"{value.name}[{axis}]"
            for axis, d in enumerate(kind.shape.dim)
        )
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    except KeyError as error:
        raise ValueError(
            f"source: expected numbers as inputs, got another type in {value.name!r}"
        ) from error
    return Input(value.name, shape, dtype)
