"""Layers with parameters and gradients, and the base classes they are built from."""

from rnnfast.layers.activations import GELU, ReLU, Sigmoid, SiLU, Tanh
from rnnfast.layers.containers import Residual, Sequential
from rnnfast.layers.convolution import Conv1d
from rnnfast.layers.dense import Embedding, Linear
from rnnfast.layers.dropout import Dropout
from rnnfast.layers.merging import MergeDirections
from rnnfast.layers.module import Module
from rnnfast.layers.named import GRU, LSTM, RNN, PeepholeLSTM
from rnnfast.layers.normalization import LayerNorm
from rnnfast.layers.parameter import Parameter
from rnnfast.layers.pooling import Last, MaxPool, MeanPool
from rnnfast.layers.recurrent import Recurrent
from rnnfast.layers.stream import Stream, StreamState

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "Conv1d",
    "Dropout",
    "Embedding",
    "Last",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "MeanPool",
    "MergeDirections",
    "Module",
    "Parameter",
    "PeepholeLSTM",
    "ReLU",
    "Recurrent",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Stream",
    "StreamState",
    "Tanh",
]
