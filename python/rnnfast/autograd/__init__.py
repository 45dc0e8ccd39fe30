"""Automatic differentiation of computations with tensors: layers, losses and operations.

`rnnfast.tensor` makes a `Tensor`; a layer or a loss that is called with one returns tensors, and
`loss.backward()` adds the gradients to those of all parameters. This package has functions of
tensors that complement their operators, and `takes_tensors`, which lets a loss of your own accept
tensors.
"""

from rnnfast.autograd.operations import (
    concatenate,
    exp,
    log,
    log_softmax,
    matmul,
    maximum,
    minimum,
    relu,
    sigmoid,
    softmax,
    sqrt,
    stack,
    tanh,
    where,
)
from rnnfast.autograd.recording import recorded, takes_tensors
from rnnfast.autograd.tensor import Tensor

__all__ = [
    "Tensor",
    "concatenate",
    "exp",
    "log",
    "log_softmax",
    "matmul",
    "maximum",
    "minimum",
    "recorded",
    "relu",
    "sigmoid",
    "softmax",
    "sqrt",
    "stack",
    "takes_tensors",
    "tanh",
    "where",
]
