"""HDF5 files of Keras: whole models with a configuration, and weights alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from rnnfast.exchange.files.content import Content
from rnnfast.exchange.files.hdf5 import File, Object
from rnnfast.exchange.files.keras_model import Layer, layers_of
from rnnfast.exchange.found import Found, find

_NAMES = ("kernel", "recurrent_kernel", "bias")


def read(data: bytes) -> Content:
    """Return the recurrent layers of a model that `model.save` or `save_weights` wrote."""
    root = File(data).root
    weights = root.get("model_weights") or root
    config, version = ("".join(root.attribute(n) or []) for n in ("model_config", "keras_version"))
    if config:
        layers = list(layers_of(json.loads(config), version))
        arrays = [_of_layer(weights, layer) for layer in layers]
        return Content({}, found_layers(layers, arrays))
    return Content({_named(name): array.array(name) for name, array in weights.arrays()})


def found_layers(layers: Sequence[Layer], arrays: Sequence[Sequence[NDArray[Any]]]) -> list[Found]:
    """Return the networks that a model's configuration lists, each with its arrays in order."""
    result = []
    for layer, values in zip(layers, arrays, strict=True):
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
                said = layer.facts, layer.backwards, layer.notes, layer.problem
                result.append(Found(layer.name, readings, *said))
    return result


def _of_layer(weights: Object, layer: Layer) -> list[NDArray[Any]]:
    """Return the arrays of a layer in the order in which Keras has them."""
    group = weights.get(layer.name)
    if group is None:
        raise ValueError(f"layer {layer.name!r} of the configuration has no weights")
    arrays = [(name, group.get(name)) for name in group.attribute("weight_names") or []]
    if any(array is None for _, array in arrays):
        raise ValueError(f"layer {layer.name!r} lacks some of its weights")
    return [array.array(name) for name, array in arrays if array is not None]


def _named(path: str) -> str:
    """Return the name in the table of an array in a file without a configuration."""
    path = re.sub(r"cell/vars/([012])$", lambda match: _NAMES[int(match[1])], path)
    path = re.sub(r"(?<=/)(forward|backward)_[^/]+/(?:[^/]+/)*(?=[^/]+$)", r"\1/", path)
    return path.removesuffix(":0").replace("/", ".")
