"""The operators that move values, and those that read or make shapes, in NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from operator import itemgetter, methodcaller
from typing import Any, TypeAlias

import numpy as np
from onnx import helper, numpy_helper

from rnnfast.onnx.node import in_reverse
from rnnfast.onnx.session.call import (
    Array,
    Call,
    Maker,
    Operation,
    counted_axis,
    of_arrays,
    of_shapes,
)
from rnnfast.onnx.values import array_of

Shape: TypeAlias = "tuple[int, ...]"


def _to(shape: Sequence[int]) -> Operation:
    return methodcaller("reshape", tuple(shape))


def _reshape(shape: Shape, sizes: Sequence[int], *, allowzero: int = 0) -> Operation:
    # 0 keeps a size
    return _to(sizes if allowzero else [n or shape[k] for k, n in enumerate(sizes)])


def _flatten(shape: Shape, *, axis: int = 1) -> Operation:
    axis = len(shape) if axis == len(shape) else counted_axis(axis, len(shape))
    return _to((math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(shape: Shape, axes: Sequence[int] | None = None) -> Operation:
    chosen = {counted_axis(axis, len(shape)) for axis in axes or ()}
    wrong = [axis for axis in chosen if shape[axis] != 1]
    if wrong:
        raise ValueError(f"expected axes of size 1, got axes {wrong} of shape {shape}")
    kept = [n for k, n in enumerate(shape) if (n != 1 if axes is None else k not in chosen)]
    return _to(kept)


def _unsqueeze(shape: Shape, axes: Sequence[int]) -> Operation:
    rank = len(shape) + len(axes)
    new = {counted_axis(axis, rank) for axis in axes}
    if len(new) < len(axes):
        raise ValueError(f"expected different axes, got {axes}")
    sizes = iter(shape)
    return _to([1 if k in new else next(sizes) for k in range(rank)])


def _transpose(shape: Shape, *, perm: Sequence[int] | None = None) -> Operation:
    return methodcaller("transpose", perm or range(len(shape))[::-1])


def _expand(shape: Shape, sizes: Sequence[int]) -> Operation:
    return partial(np.broadcast_to, shape=np.broadcast_shapes(shape, tuple(sizes)))


def _tile(_shape: Shape, repeats: Sequence[int]) -> Operation:
    return partial(np.tile, reps=repeats)


def _slice(
    shape: Shape,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Operation:
    place = [slice(None)] * len(shape)
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place[axis] = slice(start, end, step)
    return itemgetter(tuple(place))


def _split(call: Call) -> Operation:
    parts = len(call.node.proto.output)

    def prepare(
        shape: Shape,
        split: Sequence[int] | None = None,
        *,
        axis: int = 0,
        num_outputs: int = parts,
    ) -> Operation:
        size = shape[axis]
        if split is None:
            ends = [min(-(-size // num_outputs) * (k + 1), size) for k in range(num_outputs)]
        else:
            ends = list(itertools.accumulate(split))
        if ends[-1] != size or (split is not None and min(split) < 0):
            raise ValueError(f"expected parts of {size} in total, got {split}")
        before: list[Any] = [slice(None)] * counted_axis(axis, len(shape))
        places = [(*before, slice(*pair)) for pair in itertools.pairwise([0, *ends])]
        return lambda x: [x[place] for place in places]

    return of_shapes(prepare)(call)


def _concat(*arrays: Array, axis: int) -> Array:
    return np.concatenate(arrays, axis)


def _gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return x.take(indices, axis)


def _gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.take_along_axis(x, indices, axis)


def _pad(
    shape: Shape,
    pads: Sequence[int],
    constant_value: float | Sequence[float] | None = None,
    axes: Sequence[int] | None = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Operation:
    rank = len(shape)
    chosen = range(rank) if axes is None else [counted_axis(axis, rank) for axis in axes]
    around = dict(zip(chosen, zip(*np.split(np.array(pads), 2), strict=True), strict=True))
    if mode != "constant":
        places = [
            (_places(shape[axis], int(widths[0]), int(widths[1]), mode), axis)
            for axis, widths in around.items()
            if any(widths)
        ]
        return lambda x: _taken(x, places)
    widths = [tuple(map(int, around.get(axis, (0, 0)))) for axis in range(rank)]
    sizes = [n + before + after for n, (before, after) in zip(shape, widths, strict=True)]
    source, target = (
        tuple(
            slice(max(s * b, 0), n + min(-s * a, 0)) for n, (b, a) in zip(of, widths, strict=True)
        )
        for s, of in ((-1, shape), (1, sizes))
    )
    fill = value if constant_value is None else np.reshape(constant_value, ()).item()

    def pad(x: Array) -> Array:
        y = np.full(sizes, fill, x.dtype)
        y[target] = x[source]
        return y

    return pad


def _taken(x: Array, places: Sequence[tuple[Array, int]]) -> Array:
    for indices, axis in places:
        x = x.take(indices, axis)
    return x


def _places(size: int, before: int, after: int, mode: str) -> Array:
    """Return where the values of a padded axis come from; negative numbers remove values."""
    places = np.arange(size)[max(-before, 0) : size + min(after, 0)]
    return np.pad(places, (max(before, 0), max(after, 0)), mode=mode)  # type: ignore[call-overload]


def _reverse_sequence(
    x: Array,
    lengths: Array,
    *,
    batch_axis: int = 1,  # noqa: ARG001
    time_axis: int = 0,
) -> Array:
    return in_reverse(x.swapaxes(0, time_axis), lengths).swapaxes(0, time_axis)


def _constant(call: Call) -> Operation:
    (kind, value), *others = call.attributes.items()
    if others or kind not in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        raise ValueError(f"{call.node.label}: expected numbers, got {', '.join(call.attributes)}")
    if kind == "value":
        array = array_of(value)
    else:
        array = np.array(value, np.float32 if "float" in kind else np.int64)
    return lambda: array


def _constant_of_shape(shape: Array, *, value: Any = None) -> Array:
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full(shape.tolist(), fill.reshape(-1)[0], fill.dtype)


def _shape(x: Array, *, start: int = 0, end: int | None = None) -> Array:
    return np.array(x.shape[start:end], np.int64)


def _size(x: Array) -> Array:
    return np.array(x.size, np.int64)


def _range(start: Array, limit: Array, delta: Array) -> Array:
    return np.arange(start.item(), limit.item(), delta.item(), start.dtype)  # type: ignore[call-overload]


def _cast(x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:  # noqa: ARG001
    return x.astype(helper.tensor_dtype_to_np_dtype(to), copy=False)


def _identity(x: Array, *_others: Array, **_attributes: Any) -> Array:
    return x


NUMBERED = {
    "Expand": of_shapes(_expand),
    "Pad": of_shapes(_pad),
    "Reshape": of_shapes(_reshape),
    "Slice": of_shapes(_slice),
    "Split": _split,
    "Squeeze": of_shapes(_squeeze),
    "Tile": of_shapes(_tile),
    "Unsqueeze": of_shapes(_unsqueeze),
}
"""Operators whose inputs after the first decide the shape of the result."""

MOVES: dict[str, Maker] = {
    **NUMBERED,
    "Cast": of_arrays(_cast),
    "Concat": of_arrays(_concat),
    "Constant": _constant,
    "ConstantOfShape": of_arrays(_constant_of_shape),
    "Dropout": of_arrays(_identity),
    "Flatten": of_shapes(_flatten),
    "Gather": of_arrays(_gather),
    "GatherElements": of_arrays(_gather_elements),
    "Identity": of_arrays(_identity),
    "Range": of_arrays(_range),
    "ReverseSequence": of_arrays(_reverse_sequence),
    "Shape": of_arrays(_shape),
    "Size": of_arrays(_size),
    "Transpose": of_shapes(_transpose),
}
