"""Conversion of weights from and to PyTorch and Keras."""

from rnnfast.exchange.keras import load_keras_weights, to_keras_weights
from rnnfast.exchange.pytorch import load_torch_state_dict, to_torch_state_dict

__all__ = [
    "load_keras_weights",
    "load_torch_state_dict",
    "to_keras_weights",
    "to_torch_state_dict",
]
