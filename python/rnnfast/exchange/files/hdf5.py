"""HDF5 files of Keras, and their arrays."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.files.content import Budget, Content
from rnnfast.exchange.files.keras_model import Layer, layers_of
from rnnfast.exchange.found import Found, find

MAGIC = b"\x89HDF\r\n\x1a\n"
_NAMES = ("kernel", "recurrent_kernel", "bias")
_MOST = 10_000  # objects in a file


def read(data: bytes) -> Content:
    """Return the recurrent layers of a model that `model.save` or `save_weights` wrote."""
    with opened(data) as file:
        budget = Budget(len(data))
        weights = file.get("model_weights", file)
        config, version = (_text(file.attrs.get(n)) for n in ("model_config", "keras_version"))
        if config:
            layers = list(layers_of(json.loads(config), version or ""))
            arrays = [_of_layer(weights, layer, budget) for layer in layers]
            return Content({}, found_layers(layers, arrays))
        named = {_named(name): d for name, d in _datasets(weights)}
        return Content({name: array(name, d, budget) for name, d in named.items()})


def opened(data: bytes) -> Any:
    """Open the bytes of an HDF5 file."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("files of Keras need the package h5py: pip install h5py") from error
    try:
        return h5py.File(io.BytesIO(data), "r")
    except OSError as error:
        raise ValueError(str(error)) from error


def array(name: str, dataset: Any, budget: Budget) -> NDArray[Any]:
    """Return the values of a dataset that is stored in the file."""
    if dataset.dtype.kind not in "fiu" or dataset.id.get_create_plist().get_external_count():
        raise ValueError(f"{name}: expected real numbers in the file itself")
    budget.take(name, dataset.shape, dataset.dtype.itemsize)
    try:
        return np.asarray(dataset[()])
    except OSError as error:
        raise ValueError(f"{name}: {error}") from error


def found_layers(layers: Sequence[Layer], arrays: Sequence[Sequence[NDArray[Any]]]) -> list[Found]:
    """Return the networks that a model's configuration lists, each with its arrays in order."""
    result = []
    for layer, values in zip(layers, arrays, strict=True):
        if layer.problem:
            raise ValueError(f"layer {layer.name!r}: {layer.problem}")
        directions = ("forward.", "backward.") if layer.bidirectional else ("",)
        each, rest = divmod(len(values), len(directions))
        if rest or not 2 <= each <= 3:
            raise ValueError(f"layer {layer.name!r}: expected 2 or 3 arrays for each direction")
        named = {
            f"{layer.name}.{direction}{name}": values[k * each + i]
            for k, direction in enumerate(directions)
            for i, name in enumerate(_NAMES[:each])
        }
        for found in find(named, "keras", {layer.name: layer.facts}):
            readings = tuple(
                r
                for r in found.readings
                if ("CuDNN" in r.convention.layers) == layer.class_name.startswith("CuDNN")
            )
            if readings:
                result.append(
                    Found(layer.name, readings, layer.facts, layer.backwards, layer.notes)
                )
    return result


def _of_layer(weights: Any, layer: Layer, budget: Budget) -> list[NDArray[Any]]:
    """Return the arrays of a layer in the order in which Keras has them."""
    if layer.name not in weights:
        raise ValueError(f"layer {layer.name!r} of the configuration has no weights")
    group = weights[layer.name]
    names = [_text(name) for name in group.attrs.get("weight_names", ())]
    return [array(str(name), group[name], budget) for name in names]


def _datasets(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the datasets of a group by their paths."""
    import h5py

    todo = [("", group)]
    for _ in range(_MOST):
        if not todo:
            return
        prefix, one = todo.pop()
        for key in one:
            if one.get(key, getlink=True).__class__ is not h5py.HardLink:
                continue  # links may lead to other files
            inner = one[key]
            if isinstance(inner, h5py.Dataset):
                yield f"{prefix}{key}", inner
            else:
                todo.append((f"{prefix}{key}/", inner))
    raise ValueError(f"expected at most {_MOST} groups")


def _named(path: str) -> str:
    """Return the name in the table of an array in a file without a configuration."""
    path = re.sub(r"cell/vars/([012])$", lambda match: _NAMES[int(match[1])], path)
    path = re.sub(r"(?<=/)(forward|backward)_[^/]+/(?:[^/]+/)*(?=[^/]+$)", r"\1/", path)
    return path.removesuffix(":0").replace("/", ".")


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else None
