"""Fast, exact recurrent neural networks: fused forward and backward kernels for the CPU.

The top level has layers with parameters and gradients: `LSTM`, `GRU`, `RNN`, and `Recurrent` for
any cell. Called with a `Tensor`, they record their calls for automatic differentiation.

- `rnnfast.autograd`: functions of tensors
- `rnnfast.functional`: stateless functions on arrays
- `rnnfast.init`: initial values of parameters
- `rnnfast.training`: training of any model
- `rnnfast.data`: batches of data
- `rnnfast.decoding`: sampling, beam search and scheduled sampling
- `rnnfast.serving`: pools of streams for serving many sessions
- `rnnfast.inspection`: states and gates over time, what units tell, and how gradients flow
- `rnnfast.cells`: cells from the literature, and the functions to write your own
- `rnnfast.traced`: the tracer that turns a cell written in Python into one of the engine
- `rnnfast.reference`: the float64 NumPy reference that everything is checked against
- `rnnfast.cuda`: the CUDA devices of this machine
- `rnnfast.torch`: the layers as PyTorch modules
- `rnnfast.sklearn`: estimators for scikit-learn
- `rnnfast.onnx`: import and export of ONNX models
- `rnnfast.exchange`: weights from and to other libraries

The modules `data`, `decoding`, `exchange`, `inspection`, `onnx`, `serving`, `sklearn`, `torch`,
`traced` and `training` are loaded on first use, because some of them need other packages.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from rnnfast import autograd, cells, cuda, functional, init, reference
from rnnfast._core import cache_info, cpu_info, empty_cache
from rnnfast._engine.known import register
from rnnfast._engine.seeds import manual_seed
from rnnfast._engine.threads import get_num_threads, set_num_threads
from rnnfast._files import CheckpointError
from rnnfast._version import __version__
from rnnfast.autograd.gradcheck import gradcheck
from rnnfast.autograd.tensor import Tensor, tensor
from rnnfast.layers.activations import GELU, ReLU, Sigmoid, SiLU, Tanh
from rnnfast.layers.containers import Residual, Sequential
from rnnfast.layers.convolution import Conv1d
from rnnfast.layers.dense import Embedding, Linear
from rnnfast.layers.dropout import Dropout
from rnnfast.layers.merging import MergeDirections
from rnnfast.layers.module import Module, load
from rnnfast.layers.module_lists import ModuleDict, ModuleList
from rnnfast.layers.named import GRU, LSTM, RNN, PeepholeLSTM
from rnnfast.layers.normalization import LayerNorm
from rnnfast.layers.parameter import Parameter
from rnnfast.layers.pooling import Last, MaxPool, MeanPool
from rnnfast.layers.recurrent import Recurrent
from rnnfast.layers.stream import Stream, StreamState
from rnnfast.losses.classification import bce_with_logits, nll
from rnnfast.losses.cross_entropy import cross_entropy, softmax_cross_entropy
from rnnfast.losses.ctc import ctc
from rnnfast.losses.regression import gaussian_nll, huber, l1, mse, quantile
from rnnfast.optim.clipping import clip_grad_norm_, clip_grad_value_
from rnnfast.optim.ema import EMA
from rnnfast.optim.groups import ParameterGroup
from rnnfast.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from rnnfast.optim.schedules import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
)
from rnnfast.optim.warm_schedules import CosineWarmRestarts, LinearWarmup, OneCycle, ScheduleChain
from rnnfast.reference import Cell

__all__ = [
    "EMA",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Cell",
    "CheckpointError",
    "Conv1d",
    "CosineDecay",
    "CosineWarmRestarts",
    "Dropout",
    "Embedding",
    "ExponentialDecay",
    "Last",
    "LayerNorm",
    "Linear",
    "LinearDecay",
    "LinearWarmup",
    "MaxPool",
    "MeanPool",
    "MergeDirections",
    "Module",
    "ModuleDict",
    "ModuleList",
    "OneCycle",
    "Optimizer",
    "Parameter",
    "ParameterGroup",
    "PeepholeLSTM",
    "RMSprop",
    "ReLU",
    "Recurrent",
    "ReduceOnPlateau",
    "Residual",
    "Schedule",
    "ScheduleChain",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "StepDecay",
    "Stream",
    "StreamPool",
    "StreamState",
    "Tanh",
    "Tensor",
    "__version__",
    "autograd",
    "bce_with_logits",
    "cache_info",
    "cells",
    "clip_grad_norm_",
    "clip_grad_value_",
    "cpu_info",
    "cross_entropy",
    "ctc",
    "cuda",
    "empty_cache",
    "functional",
    "gaussian_nll",
    "get_num_threads",
    "gradcheck",
    "gradient_flow",
    "huber",
    "init",
    "inspect",
    "l1",
    "load",
    "load_keras_weights",
    "load_torch_state_dict",
    "load_weights",
    "manual_seed",
    "mse",
    "nll",
    "quantile",
    "read_layer",
    "reference",
    "register",
    "set_num_threads",
    "softmax_cross_entropy",
    "tensor",
    "to_keras_weights",
    "to_torch_state_dict",
    "trace",
]

_LOADED_ON_USE = {
    "data": "rnnfast.data",
    "decoding": "rnnfast.decoding",
    "exchange": "rnnfast.exchange",
    "inspection": "rnnfast.inspection",
    "jax": "jax",
    "keras": "keras",
    "onnx": "onnx",
    "serving": "rnnfast.serving",
    "sklearn": "sklearn",
    "torch": "torch",
    "traced": "rnnfast.traced",
    "training": "rnnfast.training",
}  # modules loaded on first use, with the module or package that each needs

# Names loaded on first use, with their modules.
_NAMES_ON_USE = {
    "StreamPool": "serving",
    "gradient_flow": "inspection",
    "inspect": "inspection",
    "load_keras_weights": "exchange",
    "load_torch_state_dict": "exchange",
    "load_weights": "exchange",
    "read_layer": "exchange",
    "to_keras_weights": "exchange",
    "to_torch_state_dict": "exchange",
    "trace": "inspection",
}

if TYPE_CHECKING:
    from rnnfast import data as data
    from rnnfast import decoding as decoding
    from rnnfast import exchange as exchange
    from rnnfast import inspection as inspection
    from rnnfast import jax as jax
    from rnnfast import keras as keras
    from rnnfast import onnx as onnx
    from rnnfast import serving as serving
    from rnnfast import sklearn as sklearn
    from rnnfast import torch as torch
    from rnnfast import traced as traced
    from rnnfast import training as training
    from rnnfast.exchange import load_keras_weights as load_keras_weights
    from rnnfast.exchange import load_torch_state_dict as load_torch_state_dict
    from rnnfast.exchange import load_weights as load_weights
    from rnnfast.exchange import read_layer as read_layer
    from rnnfast.exchange import to_keras_weights as to_keras_weights
    from rnnfast.exchange import to_torch_state_dict as to_torch_state_dict
    from rnnfast.inspection import gradient_flow as gradient_flow
    from rnnfast.inspection import inspect as inspect
    from rnnfast.inspection import trace as trace
    from rnnfast.serving import StreamPool as StreamPool
else:

    def __getattr__(name: str) -> Any:
        if name in _NAMES_ON_USE:
            return getattr(importlib.import_module(f"rnnfast.{_NAMES_ON_USE[name]}"), name)
        if name not in _LOADED_ON_USE:
            raise AttributeError(f"module 'rnnfast' has no attribute {name!r}")
        return importlib.import_module(f"rnnfast.{name}")


def __dir__() -> list[str]:
    there = (name for name, need in _LOADED_ON_USE.items() if importlib.util.find_spec(need))
    return sorted({*globals(), *there, *_NAMES_ON_USE})
