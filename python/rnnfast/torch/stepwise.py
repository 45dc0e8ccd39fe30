"""Networks step by step in operations of PyTorch: slow, and differentiable in every way.

This is the path for what the engine's kernels cannot do: derivatives of gradients, forward-mode
derivatives, `torch.func` transforms. The equations of a cell are those of `rnnfast.reference`,
applied to tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rnnfast import reference
from rnnfast.reference import tape

if TYPE_CHECKING:
    from rnnfast.torch.ops import Options

for function in (tape.sigmoid, tape.tanh, tape.relu):
    function.register(torch.Tensor, getattr(torch, function.__name__))


class _Product:
    """Row blocks of a weight matrix times an operand: `rnnfast.reference.cell.Product`."""

    def __init__(self, weight: Tensor, bias: Tensor | None, gates: int) -> None:
        self._weight = weight.chunk(gates)
        self._bias = [None] * gates if bias is None else bias.chunk(gates)

    def __call__(self, operand: Tensor, *gates: int) -> list[Tensor]:
        """One (..., H) product a gate: the gates named, or all of them."""
        return [
            F.linear(operand, self._weight[g], self._bias[g])
            for g in gates or range(len(self._weight))
        ]


def forward(
    options: Options,
    x: Tensor,
    weights: Sequence[tuple[Any, ...]],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    drop: Callable[[Tensor, int], Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Run a network.

    Args:
        options: What kind of network it is.
        x: (T, B, I).
        weights: Five for each layer and direction.
        state: The initial states, (L*D, B, H) each; empty for zeros.
        lengths: (B,), the sequences' lengths; None for T each.
        drop: Takes the outputs of a layer and its number, and applies dropout.

    Returns:
        y (T, B, D*H), zero after a sequence's end, and the final states, (L*D, B, H) each.
    """
    cell = reference.CELLS[options.cell]
    H, D = weights[0][1].shape[1], 2 if options.bidirectional else 1
    if not state:
        state = [x.new_zeros((len(weights), x.shape[1], H))] * cell.states
    running = None
    if lengths is not None:
        steps = torch.arange(x.shape[0], device=x.device)
        running = (steps[:, None] < lengths)[..., None]
    final = []
    for first in range(0, len(weights), D):
        if first:
            x = drop(x, first // D - 1)
        sides = []
        for k in range(first, first + D):
            initial = tuple(s[k] for s in state)
            y, last = _run(cell, x, weights[k], initial, running, k > first)
            sides.append(y)
            final.append(last)
        x = torch.cat(sides, -1) if D > 1 else sides[0]
    return x, [torch.stack(one) for one in zip(*final, strict=True)]


def _run(
    cell: reference.ReferenceCell,
    x: Tensor,
    weights: tuple[Any, ...],
    state: tuple[Tensor, ...],
    running: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction: outputs (T, B, H) and the final states."""
    w_ih, w_hh, b_ih, b_hh, w_channel = weights
    step: Callable[..., tuple[Tensor, ...]] = cell.step
    inputs = _Product(w_ih, b_ih, cell.gates)(x)
    recurrent = _Product(w_hh, b_hh, cell.gates)
    channel = [] if w_channel is None else list(w_channel)
    times = range(x.shape[0])
    ys = []
    for t in reversed(times) if reverse else times:
        new = step([gate[t] for gate in inputs], recurrent, state, channel)
        y = new[0]
        if running is not None:
            new = tuple(torch.where(running[t], n, s) for n, s in zip(new, state, strict=True))
            y = torch.where(running[t], y, torch.zeros_like(y))
        state = new
        ys.append(y)
    if not ys:
        return x.new_zeros((0, x.shape[1], w_hh.shape[1])), state
    return torch.stack(ys[::-1] if reverse else ys), state


def backward(
    options: Options,
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    masks: Sequence[Tensor] | None,
    dy: Tensor | None,
    dfinal: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of a network as functions of its inputs and of dy and dfinal.

    Args:
        options: What kind of network it is.
        x: (T, B, I).
        weights: As a module has them.
        state: The initial states, (L*D, B, H) each; empty for zeros.
        lengths: (B,), or None.
        masks: What the outputs of each layer but the last are multiplied with; None for nothing.
        dy: The gradient of y; None for zeros.
        dfinal: Those of the final states.
        needed: Whether the gradient of x, of each state and of each weight is wanted.

    Returns:
        These gradients, None where not wanted.
    """
    from rnnfast.torch.ops import by_layer

    # Views, so that what x has to do with the weights is not counted here.
    inputs = [t.view_as(t) for t in (x, *state, *weights)]
    count = 1 + len(state)
    y, final = forward(
        options,
        inputs[0],
        by_layer(inputs[count:], options),
        inputs[1:count],
        lengths,
        (lambda outputs, layer: outputs * masks[layer]) if masks else (lambda outputs, _: outputs),
    )
    pairs = zip([y, *final], [dy, *dfinal], strict=True)
    outputs, gradients = zip(*[(o, g) for o, g in pairs if g is not None], strict=True)
    wanted = [t for t, need in zip(inputs, needed, strict=True) if need]
    found = iter(
        torch.autograd.grad(outputs, wanted, gradients, create_graph=True, allow_unused=True)
    )
    return [next(found) if need else None for need in needed]
