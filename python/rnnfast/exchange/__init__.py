"""Weights from and to other libraries, by a table of their conventions."""

from rnnfast.exchange.convention import Array, Convention
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.cudnn import from_cudnn
from rnnfast.exchange.facts import ACTIVATIONS, Facts
from rnnfast.exchange.found import Found
from rnnfast.exchange.keras import load_keras_weights, to_keras_weights
from rnnfast.exchange.load import load_weights, read_layer
from rnnfast.exchange.pytorch import load_torch_state_dict, to_torch_state_dict
from rnnfast.exchange.report import Description, describe
from rnnfast.exchange.resolve import SOURCES, found_in
from rnnfast.exchange.rnnoise import from_rnnoise
from rnnfast.exchange.save import to_weights

__all__ = [
    "ACTIVATIONS",
    "CONVENTIONS",
    "SOURCES",
    "Array",
    "Convention",
    "Description",
    "Facts",
    "Found",
    "describe",
    "found_in",
    "from_cudnn",
    "from_rnnoise",
    "load_keras_weights",
    "load_torch_state_dict",
    "load_weights",
    "read_layer",
    "to_keras_weights",
    "to_torch_state_dict",
    "to_weights",
]
