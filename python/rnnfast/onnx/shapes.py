"""Inputs of operators that an ONNX model computes from the sizes of other values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rnnfast.onnx.inference import infer_shapes
from rnnfast.onnx.values import Values, inner_graphs

Dims: TypeAlias = "tuple[int | str, ...]"
"""The sizes of the axes of a value: numbers, or names for sizes that are not known in advance."""

_SMALL = 1024  # elements of an initializer that may be a shape itself
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


class Shapes:
    """The known shapes of the values of a model, which are declared or inferred by onnx."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def of(self, name: str) -> Dims | None:
        """Return the sizes of a value's axes, or None if not even their number is known.

        An axis of unknown size has a name of its own, which it shares only with axes that are known
        to have the same size.
        """
        return self._known.get(name)

    @cached_property
    def _known(self) -> dict[str, Dims | None]:
        try:
            model = infer_shapes(_without_weights(self._model))
        except Exception:  # onnx raises errors of any type; no shapes are known then
            return {}
        known: dict[str, Dims | None] = {}
        for info in _infos(model.graph):
            dims = _dims(info)
            # The graphs of two branches may use the same name for different values.
            known[info.name] = dims if known.get(info.name, dims) == dims else None
        return known


class OfShapes:
    """A value as a function of a base value and of shapes that follow from the base's shape."""

    def __init__(self, values: Values, name: str, base: str, shapes: Shapes) -> None:
        """Prepare the function.

        Args:
            values: The values of the graph that contains both.
            name: The value to compute.
            base: The base value; only it, constants and shapes may be needed.
            shapes: The known shapes.

        Raises:
            ValueError: The value depends on a size that does not follow from the shape of `base`.
        """
        self._values, self._name, self._base = values, name, base
        self._dims: dict[str, Dims] = {}
        for source in sorted(values.shape_sources(name) - {base}):
            dims = shapes.of(source)
            if dims is None:
                raise ValueError(f"it depends on the shape of {source!r}, which is unknown")
            self._dims[source] = dims
        self._base_dims = (shapes.of(base) or ()) if self._dims else ()
        self._last: tuple[tuple[int, ...], NDArray[Any]] | None = None
        self._check_unknown_sizes()

    def __call__(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the value for a `base` of this shape, if it depends only on the shape.

        Raises:
            ValueError: It cannot be computed for this shape.
        """
        if self._last is None or self._last[0] != shape:
            self._last = shape, self.evaluate(_of_shape(shape))
        return self._last[1]

    def fitted(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape` with the sizes that the model fixes."""
        fixed = self._base_dims or shape
        return tuple(f if isinstance(f, int) else n for f, n in zip(fixed, shape, strict=True))

    def evaluate(self, base: NDArray[Any], unknown: int = 1) -> NDArray[Any]:
        """Return the value for an array `base`; `unknown` replaces sizes that do not matter.

        Raises:
            ValueError: It cannot be computed for this shape.
        """
        sizes = dict(zip(self._base_dims, base.shape, strict=False))
        if any(isinstance(dim, int) and dim != size for dim, size in sizes.items()):
            raise ValueError(
                f"the model expects {self._base!r} of shape {self._base_dims}, got {base.shape}"
            )
        given = {self._base: base}
        for name, dims in self._dims.items():
            shape = (dim if isinstance(dim, int) else sizes.get(dim, unknown) for dim in dims)
            given[name] = _of_shape(tuple(shape))
        # States grow with the batch, which the size of the file does not limit.
        more = self._values.limit * max(base.shape[:2], default=1)
        return self._values.evaluate(self._name, given, more)

    def _check_unknown_sizes(self) -> None:
        missing = [
            (name, axis)
            for name, dims in self._dims.items()
            for axis, dim in enumerate(dims)
            if isinstance(dim, str) and dim not in self._base_dims
        ]
        if not missing:
            return
        dims = self._base_dims or (2, 3, 4)
        base = _of_shape(tuple(d if isinstance(d, int) else 2 + k for k, d in enumerate(dims)))
        if not np.array_equal(self.evaluate(base, unknown=5), self.evaluate(base, unknown=7)):
            name, axis = missing[0]
            raise ValueError(
                f"it depends on the size of axis {axis} of {name!r}, which does not follow from "
                f"the shape of {self._base!r}"
            )


def _of_shape(shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array of this shape that takes no memory; its values do not matter."""
    return np.broadcast_to(np.float32(0), shape)


def _without_weights(model: Any) -> Any:
    """Replace large initializers of a model by inputs, and name all unknown sizes."""
    initializers = {t.name: t for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initializers]
    small = [t for t in initializers.values() if np.prod(t.dims, dtype=np.float64) <= _SMALL]
    inputs += [
        helper.make_tensor_value_info(t.name, t.data_type, _trusted_dims(t))
        for t in initializers.values()
    ]
    graph = helper.make_graph(
        model.graph.node, "shapes", inputs, model.graph.output, small, value_info=()
    )
    for info in graph.input:
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.dim_param and dim.dim_value <= 0:
                dim.dim_param = f"{info.name}[{axis}]"
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)


def _trusted_dims(tensor: Any) -> Any:
    """Return the dims of an initializer, or None if inference must not rely on them.

    Inference of the values of shapes allocates as many elements as the indices of a `Gather`
    declare. Large integers are no shapes, and a tensor that declares more than it holds is damaged.
    """
    count = np.prod(tensor.dims, dtype=np.float64)
    if count <= _SMALL:
        return tensor.dims
    is_external = tensor.data_location == TensorProto.EXTERNAL
    is_damaged = not is_external and count > tensor.ByteSize()
    return None if is_damaged or tensor.data_type not in _FLOATS else tensor.dims


def _infos(graph: Any) -> Iterator[Any]:
    for infos in (graph.input, graph.value_info, graph.output):
        yield from infos
    for node in graph.node:
        for attribute in node.attribute:
            for inner in inner_graphs(attribute):
                yield from _infos(inner)


def _dims(info: Any) -> Dims | None:
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{info.name}[{axis}]"
        for axis, dim in enumerate(kind.shape.dim)
    )


def opset_versions(opsets: Sequence[Any]) -> Mapping[str, int]:
    """Return the versions of operator sets by their domains."""
    return {opset.domain.removeprefix("ai.onnx"): opset.version for opset in opsets}
