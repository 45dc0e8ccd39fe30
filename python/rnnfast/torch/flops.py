"""How much the operators compute, for `torch.utils.flop_counter.FlopCounterMode`.

As for PyTorch's own operators, products count, an addition and a multiplication each as one
operation, and nothing else does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.flop_counter import register_flop_formula

from rnnfast.torch.network import Network, Options


def _forward(network: Network, options: Options) -> int:
    """Each step of each sequence is multiplied by weight_ih, its h by weight_hh."""
    layers = options.by_layer(network.weights)
    values: int = sum(w.numel() for of_layer in layers for w in of_layer[:2])
    return 2 * _steps(network) * values


def _backward(network: Network, options: Options, need_dx: bool) -> int:
    """Two products for each of forward's: the gradients of what it multiplied."""
    first = options.by_layer(network.weights)[: options.num_directions]
    skipped = 0 if need_dx else sum(of_layer[0].numel() for of_layer in first)
    return 2 * _forward(network, options) - 2 * _steps(network) * skipped


def _steps(network: Network) -> int:
    """The steps of all sequences; T each where the lengths have no values, in tracing."""
    T, B, _ = network.x.shape
    lengths = network.lengths
    known: Tensor | None = None if isinstance(lengths, FakeTensor) else lengths
    return T * B if known is None else int(known.sum())


def _forward_formula(*values: Any, **_out: Any) -> int:
    return _forward(Network(*values[:5]), Options(*values[5 : 5 + len(Options._fields)]))


def _backward_formula(*values: Any, **_out: Any) -> int:
    return _backward(
        Network(*values[:5]), Options(*values[5 : 5 + len(Options._fields)]), values[-1]
    )


def register() -> None:
    """Let PyTorch know; once the operators are defined."""
    register_flop_formula(torch.ops.rnnfast.forward, get_raw=True)(_forward_formula)
    register_flop_formula(torch.ops.rnnfast.backward, get_raw=True)(_backward_formula)
