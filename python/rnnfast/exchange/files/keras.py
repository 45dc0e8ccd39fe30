"""Archives of Keras 3: a configuration, a version and a file of HDF5."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from typing import Any

from numpy.typing import NDArray

from rnnfast.exchange.files import hdf5
from rnnfast.exchange.files.content import Budget, Content
from rnnfast.exchange.files.keras_model import Layer, layers_of


def read(archive: zipfile.ZipFile, size: int) -> Content:
    """Return the recurrent layers of a `.keras` file."""
    budget = Budget(size)
    for info in archive.infolist():
        budget.take(info.filename, (info.file_size,))
    metadata = json.loads(archive.read("metadata.json"))
    version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    layers = list(layers_of(json.loads(archive.read("config.json")), version))
    data = archive.read("model.weights.h5")
    budget = Budget(len(data))
    numbers: Counter[str] = Counter()
    with hdf5.opened(data) as file:
        arrays = [_arrays(file, layer, numbers, budget) for layer in layers]
        return Content({}, hdf5.found_layers(layers, arrays))


def _arrays(file: Any, layer: Layer, numbers: Counter[str], budget: Budget) -> list[NDArray[Any]]:
    """Return the arrays of a layer, whose group has its name, or that of its class and a number."""
    wrapper = "Bidirectional" if layer.bidirectional else layer.class_name
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", wrapper).lower()
    if wrapper == "SimpleRNN":
        snake = "simple_rnn"
    number = numbers[snake]
    numbers[snake] += 1
    numbered = f"{snake}_{number}" if number else snake
    groups = [f"{start}layers/{name}" for start in ("", "_") for name in (layer.name, numbered)]
    paths = ("forward_layer/", "backward_layer/") if layer.bidirectional else ("",)
    for group in groups:
        if group in file:
            cells = [f"{group}/{path}cell/vars" for path in paths]
            if all(cell in file for cell in cells):
                return [
                    hdf5.array(f"{cell}/{key}", file[cell][key], budget)
                    for cell in cells
                    for key in sorted(file[cell], key=int)
                ]
    raise ValueError(f"layer {layer.name!r} of the configuration has no weights")
