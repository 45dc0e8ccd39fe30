"""Archives of Keras 3: a configuration, a version and a file of HDF5."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from typing import Any

from numpy.typing import NDArray

from rnnfast.exchange.files.content import Budget, Content
from rnnfast.exchange.files.hdf5 import File, Object
from rnnfast.exchange.files.keras_h5 import found_layers
from rnnfast.exchange.files.keras_model import Layer, layers_of


def read(archive: zipfile.ZipFile, size: int) -> Content:
    """Return the recurrent layers of a `.keras` file."""
    budget = Budget(size)
    for info in archive.infolist():
        budget.take(info.filename, (info.file_size,))
    metadata = json.loads(archive.read("metadata.json"))
    version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    layers = list(layers_of(json.loads(archive.read("config.json")), version))
    root = File(archive.read("model.weights.h5")).root
    numbers: Counter[str] = Counter()
    arrays = [_arrays(root, layer, numbers) for layer in layers]
    return Content({}, found_layers(layers, arrays))


def _arrays(root: Object, layer: Layer, numbers: Counter[str]) -> list[NDArray[Any]]:
    """Return the arrays of a layer, whose group has its name, or that of its class and a number."""
    wrapper = "Bidirectional" if layer.bidirectional else layer.class_name
    snake = {"SimpleRNN": "simple_rnn"}.get(wrapper, wrapper.lower())
    number = numbers[snake]
    numbers[snake] += 1
    numbered = f"{snake}_{number}" if number else snake
    paths = ("forward_layer/", "backward_layer/") if layer.bidirectional else ("",)
    for name in (layer.name, numbered):
        cells = [root.get(f"layers/{name}/{path}cell/vars") for path in paths]
        if all(cell is not None for cell in cells):
            return [
                array.array(f"{name}/{key}")
                for cell in cells
                if cell is not None
                for key, array in sorted(cell.arrays())
            ]
    raise ValueError(f"layer {layer.name!r} of the configuration has no weights")
