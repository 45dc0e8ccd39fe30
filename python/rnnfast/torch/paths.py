"""The paths by which a network runs: in one call of the engine, layer by layer, or step by step.

Sizes: T seq_len, B batch, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rnnfast.torch import onnx_graph, ops, stepwise
from rnnfast.torch.network import Network, Options, states_of
from rnnfast.torch.prepacked import Prepacked


def result_dtype(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the dtype of the outputs; None if the engine does not support the call."""
    if not x.is_cpu or not weight.is_cpu:
        return None
    if torch.is_autocast_enabled("cpu") and weight.dtype != torch.float64:
        dtype: torch.dtype = torch.get_autocast_dtype("cpu")
        return dtype if dtype == torch.bfloat16 else None
    dtypes = torch.float32, torch.float64, torch.bfloat16
    return x.dtype if x.dtype == weight.dtype and x.dtype in dtypes else None


def check_input(x: Any) -> None:
    """Check that an input is a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"input: expected a tensor, got {type(x).__name__}")


def given_states(hx: Any, cell: str, start: Callable[[int], Tensor]) -> list[Tensor]:
    """Return the initial states that are given; start(k) makes state k if it is None in a tuple.

    Raises:
        TypeError: There is anything but tensors and None, or not one for each state of the cell.
    """
    if hx is None:
        return []
    given = [hx] if isinstance(hx, Tensor) else hx
    if not isinstance(given, (tuple, list)) or not given:
        got = "an empty tuple" if isinstance(given, (tuple, list)) else type(given).__name__
        raise TypeError(f"hx: expected a tensor or a tuple of tensors, got {got}")
    for k, state in enumerate(given):
        if not (state is None or isinstance(state, Tensor)):
            raise TypeError(f"hx[{k}]: expected a tensor or None, got {type(state).__name__}")
    if len(given) != (count := states_of(cell)):
        raise TypeError(
            f"hx: expected as many tensors as cell {cell!r} has states, {count}, got {len(given)}"
        )
    return [start(k) if state is None else state for k, state in enumerate(given)]


def exporting_to_onnx() -> bool:
    """Return whether an ONNX exporter of PyTorch is running, which does not know the engine."""
    traced = torch._C._get_tracing_state() is not None or torch.compiler.is_compiling()
    return traced and bool(torch.onnx.is_in_onnx_export())


def new_seed(options: Options) -> Tensor | None:
    """Draw the seed of the masks of a call from PyTorch's generator; None if no mask is needed."""
    return torch.randint(2**63 - 1, ()) if options.draws else None


def run(
    network: Network, options: Options, prepacked: Prepacked | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Run a network; return the outputs (T, B, D*H) and the final states."""
    if exporting_to_onnx():
        return onnx_graph.forward(network, options)
    if not torch.compiler.is_compiling() and stepwise.needed():
        y, final, _ = _by_steps(network, options)
    else:
        y, final, _ = ops.forward(network, options, prepacked=prepacked)
    return y, final


def layer_by_layer(
    network: Network, options: Options
) -> tuple[Tensor, list[Tensor], list[list[Tensor]]]:
    """Do the same as `run`; also return every state after every step, by layer and direction.

    Each is (T, B, H). The h of a layer are its outputs, and have the gradient of outputs.
    """
    L, D, dropout = options.num_layers, options.num_directions, options.dropout
    of_layer = options._replace(num_layers=1, dropout=0.0)
    count = len(network.weights) // L
    x, finals, states = network.x, [], []
    for layer in range(L):
        one = network._replace(
            x=F.dropout(x, dropout) if layer and dropout else x,
            weights=network.weights[layer * count : (layer + 1) * count],
            state=[s[layer * D : (layer + 1) * D] for s in network.state],
            seed=new_seed(of_layer),
            context=network.context[layer * D : (layer + 1) * D],
        )
        x, final, over_time = _run_layer(one, of_layer)
        finals.append(final)
        states += over_time
    final = [torch.cat(of_state) for of_state in zip(*finals, strict=True)]
    return x, final, [list(of_state) for of_state in zip(*states, strict=True)]


def _run_layer(
    network: Network, options: Options
) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, ...]]]:
    """Run one layer; also return the states after every step, as a tuple for each direction."""
    if not torch.compiler.is_compiling() and stepwise.needed():
        return _by_steps(network, options)
    beyond_h = options.states - 1
    y, final, reserve = ops.forward(network, options, beyond_h > 0)
    others = ops.states(network, options, reserve) if beyond_h else []
    over_time = [
        # Callers may change y in place, so the states get their own copy.
        (h.clone(), *others[k * beyond_h : (k + 1) * beyond_h])
        for k, h in enumerate(y.chunk(options.num_directions, -1))
    ]
    return y, final, over_time


def _by_steps(
    network: Network, options: Options
) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, ...]]]:
    drop = options.dropout
    return stepwise.forward(
        network,
        options,
        lambda outputs, _layer: F.dropout(outputs, drop) if drop else outputs,
        stepwise.draw(network, options) if options.has_noise else None,
    )
