"""A network as operators of ONNX, in the graphs of `torch.onnx.export(..., dynamo=True)`.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnfast._engine import onnx_layout as layout
from rnnfast.torch.network import Network, Options

_OPSET = 14


def can_write(cell: str, options: Options) -> bool:
    """Return whether ONNX has an operator for a network with these options."""
    return cell in layout.OPERATORS and not options.draws and not options.has_noise


def forward(network: Network, options: Options) -> tuple[Tensor, list[Tensor]]:
    """Return y (T, B, D*H) and the final states (L*D, B, H) as results of ONNX's operators."""
    D, states = options.num_directions, options.states
    layers = options.by_layer(network.weights)
    x, finals = network.x, []
    for k in range(options.num_layers):
        state = [s[k * D : (k + 1) * D] for s in network.state]
        y, *final = _operator(network, options, x, layers[k * D : (k + 1) * D], state)
        x = y.transpose(1, 2).flatten(2)
        finals.append(final)
    joined = [torch.cat([final[k] for final in finals]) for k in range(states)]
    return x, joined


def _operator(
    network: Network,
    options: Options,
    x: Tensor,
    directions: Sequence[tuple[Tensor | None, ...]],
    state: Sequence[Tensor],
) -> Sequence[Tensor]:
    """Return Y (T, D, B, H) and the final states (D, B, H) of one layer."""
    hidden = options.widths(network.weights)[0]
    arrays = [_arrays(options.cell, of_direction) for of_direction in directions]
    values = {name: torch.stack([a[name] for a in arrays]) for name in arrays[0]}
    values["X"] = x
    if network.lengths is not None:
        values["sequence_lens"] = network.lengths.to(torch.int32)
    values |= dict(zip(("initial_h", "initial_c"), state, strict=False))
    count = 1 + options.states
    shape = [len(directions), x.shape[1], hidden]
    return torch.onnx.ops.symbolic_multi_out(  # type: ignore[no-any-return]
        f"::{layout.OPERATORS[options.cell].op_type}",
        [values.get(name) for name in layout.inputs({name: name for name in values})],
        layout.attributes(options.cell, hidden, len(directions)),
        dtypes=[x.dtype] * count,
        shapes=[[x.shape[0], *shape], *[shape] * (count - 1)],
        version=_OPSET,
    )


def _arrays(cell: str, weights: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Return W, R and, if there are any, B and P of one direction."""
    order = layout.OPERATORS[cell].blocks
    weight_ih, weight_hh, bias_ih, bias_hh, channel, _ = weights

    def in_order(weight: Tensor) -> Tensor:
        blocks = weight.chunk(len(order))
        return torch.cat([blocks[k] for k in order])

    assert weight_ih is not None
    assert weight_hh is not None
    arrays = {"W": in_order(weight_ih), "R": in_order(weight_hh)}
    if bias_ih is not None and bias_hh is not None:
        arrays["B"] = torch.cat([in_order(bias_ih), in_order(bias_hh)])
    if channel is not None:
        arrays["P"] = channel[list(layout.PEEPHOLES)].flatten()
    return arrays
