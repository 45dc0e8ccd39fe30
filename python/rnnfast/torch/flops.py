"""Operation counts of the operators, for `torch.utils.flop_counter.FlopCounterMode`.

As for PyTorch's own operators, only matrix products are counted; an addition and a multiplication
are one operation each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.flop_counter import register_flop_formula

from rnnfast.torch.network import Network, Options, split


def _forward(network: Network, options: Options) -> int:
    """Count the products of every step with weight_ih, weight_hh and weight_hr."""
    layers = options.by_layer(network.weights)
    values = 0
    for w_ih, w_hh, *_, w_hr in layers:
        values += sum(w.numel() for w in (w_ih, w_hh, w_hr) if w is not None)
    return 2 * _steps(network) * values


def _backward(network: Network, options: Options, need_dx: bool) -> int:
    """Count two products for each product of forward, for the gradients of its two factors."""
    first = options.by_layer(network.weights)[: options.num_directions]
    skipped = 0 if need_dx else sum(of_layer[0].numel() for of_layer in first)
    return 2 * _forward(network, options) - 2 * _steps(network) * skipped


def _steps(network: Network) -> int:
    """Return the number of steps of all sequences; T*B if the lengths are unknown, in tracing."""
    T, B, _ = network.x.shape
    lengths = network.lengths
    known: Tensor | None = None if isinstance(lengths, FakeTensor) else lengths
    return T * B if known is None else int(known.sum())


def _forward_formula(*values: Any, **_out: Any) -> int:
    network, options, _ = split(values)
    return _forward(network, options)


def _backward_formula(*values: Any, **_out: Any) -> int:
    network, options, (*_, need_dx) = split(values)
    return _backward(network, options, need_dx)


def register() -> None:
    """Register the counts with PyTorch; the operators must be defined already."""
    register_flop_formula(torch.ops.rnnfast.forward, get_raw=True)(_forward_formula)
    register_flop_formula(torch.ops.rnnfast.backward, get_raw=True)(_backward_formula)
