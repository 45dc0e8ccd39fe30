"""Networks computed step by step with PyTorch operations: slow, but differentiable in every way.

This path serves derivatives of gradients, forward-mode derivatives and `torch.func` transforms,
which the kernels of the engine do not support. It applies the equations of a `Cell` to tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F  # noqa: N812

from rnnfast._engine import known
from rnnfast.reference import Cell, tape
from rnnfast.reference.cell import Inputs, named_blocks
from rnnfast.torch.network import Network, NoiseMasks, Options

Outputs: TypeAlias = Callable[..., Sequence[Tensor]]
"""A function that selects outputs from the three results of `forward`."""

tape.sigmoid.register(Tensor, torch.sigmoid)
tape.tanh.register(Tensor, torch.tanh)
tape.relu.register(Tensor, torch.relu)
tape.exp.register(Tensor, torch.exp)
tape.log.register(Tensor, torch.log)
tape.where.register(Tensor, torch.where)


@tape.softplus.register(Tensor)
def _softplus(v: Tensor) -> Tensor:
    # Above its threshold PyTorch returns v; the default of 20 is too small for float64.
    return F.softplus(v, threshold=40.0)


@tape.maximum.register(Tensor)
def _maximum(a: Tensor, b: Tensor | float) -> Tensor:
    # torch.maximum would split the gradient between equal values.
    return torch.where((a >= b) | a.isnan(), a, b)


@tape.minimum.register(Tensor)
def _minimum(a: Tensor, b: Tensor | float) -> Tensor:
    return torch.where((a <= b) | a.isnan(), a, b)


@tape.normalize.register(Tensor)
def _normalize(v: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(v, v.shape[-1:], eps=eps)


def needed() -> bool:
    """Return whether a `torch.func` transform or a level of forward-mode AD is active."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


class _Product:
    """Row blocks of a weight matrix times an operand, like `rnnfast.reference.cell.Product`."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, gates: int, mask: Tensor | None = None
    ) -> None:
        self._mask = mask
        self._weight = weight.chunk(gates) if gates else ()
        self._bias = [None] * gates if bias is None or not gates else bias.chunk(gates)

    def __call__(self, operand: Tensor, *gates: int) -> list[Tensor]:
        """Return a (..., H) product for each of `gates`, or for all gates without arguments."""
        if self._mask is not None:
            operand = operand * self._mask
        return [
            F.linear(operand, self._weight[g], self._bias[g])
            for g in named_blocks(gates, len(self._weight))
        ]


class _CellNoise(NamedTuple):
    """The masks of one layer in one direction."""

    zoneout: Sequence[Tensor] | None = None
    recurrent: Tensor | None = None
    candidate: Tensor | None = None


def draw(network: Network, options: Options) -> NoiseMasks:
    """Draw masks from PyTorch's generator, which follows the rules of `torch.func`."""
    weights, D = options.by_layer(network.weights), options.num_directions
    x, H = network.x, weights[0][1].shape[1]
    T, B, _ = x.shape

    def share(p: float) -> Tensor:
        if options.expects:
            return x.new_full((T, B, H), 1 - p)
        return (torch.rand((T, B, H), device=x.device) >= p).to(x.dtype)

    def mask(p: float, *shape: int) -> Tensor:
        return F.dropout(x.new_ones(shape), p)

    zoneout = [[share(p) for p in options.zoneout] for _ in weights]
    return NoiseMasks(
        zoneout if len(options.zoneout) else None,
        [mask(options.input_dropout, B, w[0].shape[1]) for w in weights[::D]],
        [mask(options.recurrent_dropout, B, H) for _ in weights],
        [mask(options.candidate_dropout, T, B, H) for _ in weights]
        if options.candidate_dropout
        else None,
    )


def forward(
    network: Network,
    options: Options,
    drop: Callable[[Tensor, int], Tensor],
    noise: NoiseMasks | None = None,
) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, ...]]]:
    """Run a network.

    Args:
        network: The tensors; the seed is ignored.
        options: The options of the network; the precision, dropout and noise are ignored.
        drop: A function that applies dropout, given the outputs of a layer and its number.
        noise: The masks of the noise inside the steps; None for no noise.

    Returns:
        y (T, B, D*H), zero beyond the end of a sequence; the final states, (L*D, B, H) each; and
        for each layer and direction the states after every step, (T, B, H) each, zero beyond the
        end. A projected h has P in place of H.
    """
    cell = known.cell_named(options.cell)
    weights, D = options.by_layer(network.weights), options.num_directions
    x, batch, state = network.x, network.x.shape[1], network.state
    if not state:
        shape = len(weights), batch
        state = [x.new_zeros((*shape, width)) for width in options.widths(network.weights)]
    spans = _spans(network)
    noise = noise or NoiseMasks()
    final, over_time = [], []
    for first in range(0, len(weights), D):
        if first:
            x = drop(x, first // D - 1)
        if noise.inputs:
            x = x * noise.inputs[first // D]
        for k in range(first, first + D):
            initial = tuple(s[k, :batch] for s in state)
            after_reset = tuple(
                s[k, batch:] if s.shape[1] > batch else s.new_zeros(1, s.shape[2]) for s in state
            )
            of_cell = _CellNoise(
                noise.zoneout and noise.zoneout[k],
                noise.recurrent and noise.recurrent[k],
                noise.candidate and noise.candidate[k],
            )
            context = network.context[k] if network.context else None
            states, last = _run(
                cell, x, weights[k], initial, after_reset, spans, k > first, of_cell, context
            )
            over_time.append(states)
            final.append(last)
        x = torch.cat([states[0] for states in over_time[first:]], -1)
    return x, [torch.stack(one) for one in zip(*final, strict=True)], over_time


class _Spans(NamedTuple):
    """The steps of the sequences, and of the episodes into which resets cut them.

    Attributes:
        running: (T, B, 1), True for the sequences that include a step; None if all do.
        starts: (T, B, 1), True where a reset makes a step the first of an episode; None for none.
    """

    running: Tensor | None
    starts: Tensor | None


def _spans(network: Network) -> _Spans:
    running = starts = None
    if network.lengths is not None:
        steps = torch.arange(network.x.shape[0], device=network.x.device)
        running = (steps[:, None] < network.lengths)[..., None]
    if network.reset is not None:
        starts = (network.reset != 0)[..., None]
        starts = starts if running is None else starts & running
    return _Spans(running, starts)


def _run(
    cell: Cell,
    x: Tensor,
    weights: tuple[Any, ...],
    state: tuple[Tensor, ...],
    after_reset: tuple[Tensor, ...],
    spans: _Spans,
    reverse: bool,
    noise: _CellNoise,
    context: Tensor | None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run one layer in one direction; return the states after every step and the final states.

    `state` has B rows, and `after_reset`, the state that resets set, has one. `context` is what a
    context adds to the gates.
    """
    w_ih, w_hh, b_ih, b_hh, w_channel, w_hr = weights
    step: Callable[..., tuple[Tensor, ...]] = cell.advance
    inputs = _Product(w_ih, b_ih, cell.gates)(x)
    if context is not None:
        added = context.chunk(cell.gates, -1)
        inputs = [gate + part for gate, part in zip(inputs, added, strict=True)]
    recurrent = _Product(w_hh, b_hh, cell.recurrent_blocks, noise.recurrent)
    channel = [] if w_channel is None else list(w_channel)
    times = range(x.shape[0])
    running, starts = spans
    steps = []
    for t in reversed(times) if reverse else times:
        first = t + 1 if reverse else t  # the reverse direction enters an episode at its end
        if starts is not None and first < len(times):
            state = tuple(
                torch.where(starts[first], r, s) for r, s in zip(after_reset, state, strict=True)
            )
        of_step = Inputs(
            [gate[t] for gate in inputs],
            x[t] if cell.reads_input else None,
            None if noise.candidate is None else noise.candidate[t],
        )
        new = step(of_step, recurrent, state, channel)
        if w_hr is not None:
            new = F.linear(new[0], w_hr), *new[1:]
        if noise.zoneout:
            new = tuple(
                n * share[t] + s * (1 - share[t])
                for n, s, share in zip(new, state, noise.zoneout, strict=True)
            )
        if running is None:
            steps.append(new)
            state = new
        else:
            steps.append(tuple(torch.where(running[t], n, torch.zeros_like(n)) for n in new))
            state = tuple(torch.where(running[t], n, s) for n, s in zip(new, state, strict=True))
    if not steps:
        return tuple(s.new_zeros((0, *s.shape)) for s in state), state
    in_order = steps[::-1] if reverse else steps
    return tuple(torch.stack(one) for one in zip(*in_order, strict=True)), state


def backward(
    network: Network,
    options: Options,
    masks: Sequence[Tensor] | None,
    noise: NoiseMasks | None,
    outputs_of: Outputs,
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Return gradients of a network that are differentiable in its inputs and in `gradients`.

    Args:
        network: The tensors.
        options: The options of the network.
        masks: Factors of the outputs of each layer but the last; None for no dropout.
        noise: The masks of the noise inside the steps; None for no noise.
        outputs_of: Selects the outputs to which `gradients` correspond.
        gradients: The gradients of these outputs; None for zeros.
        needed: Whether the gradient of x, of each state, of each part of a context and of each
            weight is needed.

    Returns:
        The gradients of these tensors; None for those that are not needed.
    """
    if all(g is None for g in gradients):
        return [None] * len(needed)
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, so that gradients do not flow through a dependence of x on the weights.
        inputs = [t.view_as(t) for t in network.differentiable]
        count = 1 + len(network.state)
        end = count + len(network.context)
        parts = {"state": inputs[1:count], "context": inputs[count:end], "weights": inputs[end:]}
        results = forward(
            network._replace(x=inputs[0], **parts),
            options,
            lambda outputs, layer: outputs * masks[layer] if masks else outputs,
            noise,
        )
    outputs = outputs_of(*results)
    pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None]
    wanted = [t for t, need in zip(inputs, needed, strict=True) if need]
    with_gradient, given = zip(*pairs, strict=True)
    found = iter(
        torch.autograd.grad(
            with_gradient, wanted, given, create_graph=create_graph, allow_unused=True
        )
    )
    return [next(found) if need else None for need in needed]
