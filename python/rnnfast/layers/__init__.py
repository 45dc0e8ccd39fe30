"""Layers with parameters and gradients, and what they are made of."""

from rnnfast.layers.dense import Embedding, Linear
from rnnfast.layers.module import Module
from rnnfast.layers.named import GRU, LSTM, RNN, PeepholeLSTM
from rnnfast.layers.parameter import Parameter
from rnnfast.layers.recurrent import Recurrent
from rnnfast.layers.stream import Stream

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Embedding",
    "Linear",
    "Module",
    "Parameter",
    "PeepholeLSTM",
    "Recurrent",
    "Stream",
]
