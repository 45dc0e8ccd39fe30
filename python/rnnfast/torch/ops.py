"""The engine as two operators of PyTorch, `rnnfast::forward` and `rnnfast::backward`.

All that passes between the two is tensors. The reserve, too, is a tensor of bytes: autograd,
`torch.compile`, checkpointing and hooks on saved tensors may keep it, copy it, move it or make it
again, and nothing has to be looked up or freed.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnfast import _core, functional
from rnnfast._checks import RealArray
from rnnfast.torch import stepwise


class Options(NamedTuple):
    """What kind of network it is; the last arguments of both operators.

    Attributes:
        cell: One of `rnnfast.functional.cells()`.
        num_layers: L.
        bidirectional: Whether D is 2.
        bias: Whether the weights have biases.
        dropout: Probability, on the outputs of all layers but the last.
        precision: Of products, "full" or "bfloat16".
    """

    cell: str
    num_layers: int
    bidirectional: bool
    bias: bool
    dropout: float
    precision: str


_OPTIONS = (
    "str cell, int num_layers, bool bidirectional, bool bias, float dropout, str precision"
)
# Weights as a module has them: weight_ih, weight_hh, bias_ih, bias_hh and weight_channel of each
# layer and direction, those that there are. States (L*D, B, H), none for zeros. Lengths (B,).
_NETWORK = f"Tensor x, Tensor[] weights, Tensor[] state, Tensor? lengths, Tensor? seed, {_OPTIONS}"

_library = torch.library.Library("rnnfast", "DEF")
_library.define(
    f"forward({_NETWORK}, bool training) -> (Tensor y, Tensor[] final, Tensor reserve)"
)
_library.define(
    "backward(Tensor? dy, Tensor?[] dfinal, Tensor y, Tensor reserve, bool need_dx, "
    f"{_NETWORK}) -> Tensor[]"
)
forward = torch.ops.rnnfast.forward.default
backward = torch.ops.rnnfast.backward.default


def by_layer(weights: Sequence[Any], options: Options) -> list[tuple[Any, ...]]:
    """Five for each layer and direction, None for what there is not."""
    channel = functional.cells()[options.cell].params > 0
    if options.bias and channel:
        return [tuple(weights[i : i + 5]) for i in range(0, len(weights), 5)]
    count, biases = 2 + 2 * options.bias + channel, () if options.bias else (None, None)
    last = () if channel else (None,)
    return [
        (*weights[i : i + 2], *biases, *weights[i + 2 : i + count], *last)
        for i in range(0, len(weights), count)
    ]


def _array(tensor: Tensor) -> RealArray:
    """The tensor's memory, or that of a contiguous copy."""
    array: RealArray = tensor.contiguous().numpy(force=True)
    return array


def _arguments(
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    options: Options,
) -> tuple[Any, ...]:
    """What the functions of `_core` take first."""
    return (
        options.cell,
        _array(x),
        by_layer([_array(w) for w in weights], options),
        [_array(s) for s in state] if state else None,
        None if lengths is None else _array(lengths),
        options.num_layers,
        options.bidirectional,
        options.dropout,
        0 if seed is None else int(seed),
    )


def _refuse(arguments: tuple[Any, ...], precision: str) -> NoReturn:
    """Raises the message for arguments that the engine did not take."""
    functional._checked_call(*arguments, True, precision, 0)
    raise AssertionError("the arguments were right")


def _forward(
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *options_and_training: Any,
) -> tuple[Tensor, list[Tensor], Tensor]:
    *options, training = options_and_training
    arguments = _arguments(x, weights, state, lengths, seed, Options(*options))
    precision = options[-1]
    result = _core.forward(*arguments, training, precision, 0, torch.get_num_threads())
    if result is None:
        _refuse(arguments, precision)
    y, final, reserve = result
    memory = x.new_empty(0, dtype=torch.uint8) if reserve is None else _tensor(reserve.memory)
    return _tensor(y), [_tensor(s) for s in final], memory


_tensor = torch.from_numpy


def _restore(
    y: Tensor, reserve: Tensor, network: Sequence[Any], options: Options
) -> _core.Reserve:
    """The reserve of an earlier call, from its bytes and that call's other arguments."""
    if reserve.data_ptr() % 64:
        reserve = reserve.clone()  # PyTorch aligns what it allocates
    arguments = _arguments(*network, options)
    restored = _core.restore(*arguments, options.precision, _array(y), _array(reserve))
    if restored is None:
        _refuse(arguments, options.precision)
    return restored


def _backward(
    dy: Tensor | None,
    dfinal: Sequence[Tensor | None],
    y: Tensor,
    reserve: Tensor,
    need_dx: bool,
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *options: Any,
) -> list[Tensor]:
    restored = _restore(y, reserve, (x, weights, state, lengths, seed), Options(*options))
    dx, dstate, dweights = _core.backward(
        restored,
        None if dy is None else _array(dy),
        [None if d is None else _array(d) for d in dfinal],
        need_dx,
        None,
        torch.get_num_threads(),
    )
    arrays = [] if dx is None else [dx]
    arrays += dstate if state else ()
    arrays += [dw for of_layer in dweights for dw in of_layer if dw is not None]
    return [_tensor(array) for array in arrays]


def _forward_fake(
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],  # noqa: ARG001
    lengths: Tensor | None,  # noqa: ARG001
    seed: Tensor | None,  # noqa: ARG001
    *options_and_training: Any,
) -> tuple[Tensor, list[Tensor], Tensor]:
    *values, training = options_and_training
    options = Options(*values)
    T, B, _ = x.shape
    H, D = weights[1].shape[1], 2 if options.bidirectional else 1
    # How many bytes is the engine's business, and depends on the CPU.
    size = torch.library.get_ctx().new_dynamic_size() if training else 0
    states = functional.cells()[options.cell].states
    final = [x.new_empty((options.num_layers * D, B, H)) for _ in range(states)]
    return x.new_empty((T, B, D * H)), final, x.new_empty(size, dtype=torch.uint8)


def _backward_fake(
    dy: Tensor | None,  # noqa: ARG001
    dfinal: Sequence[Tensor | None],  # noqa: ARG001
    y: Tensor,  # noqa: ARG001
    reserve: Tensor,  # noqa: ARG001
    need_dx: bool,
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    *_rest: Any,
) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in ([x] if need_dx else []) + [*state, *weights]]


class _Network(torch.autograd.Function):
    """Forward and backward of a network; the gradient of the gradient is made step by step."""

    @staticmethod
    def forward(
        ctx: Any,
        options: Options,
        states: int,
        x: Tensor,
        lengths: Tensor | None,
        seed: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        state, weights = tensors[:states], tensors[states:]
        with torch._C._AutoDispatchBelowAutograd():
            y, final, reserve = forward(x, weights, state, lengths, seed, *options, True)
        ctx.options, ctx.states = options, states
        ctx.save_for_backward(x, lengths, seed, y, reserve, *tensors)
        ctx.mark_non_differentiable(reserve)
        ctx.set_materialize_grads(False)
        return y, reserve, *final

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor | None, _dreserve: None, *dfinal: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, lengths, seed, y, reserve, *tensors = ctx.saved_tensors
        state, weights = tensors[: ctx.states], tensors[ctx.states :]
        _, _, need_dx, _, _, *needed = ctx.needs_input_grad
        network = x, weights, state, lengths, seed
        if torch.is_grad_enabled():
            masks = _dropout_masks(y, reserve, network, ctx.options)
            gradients = stepwise.backward(
                ctx.options, x, weights, state, lengths, masks, dy, dfinal, [need_dx, *needed]
            )
            return None, None, gradients[0], None, None, *gradients[1:]
        results = backward(dy, dfinal, y, reserve, need_dx, *network, *ctx.options)
        dx = results.pop(0) if need_dx else None
        return None, None, dx, None, None, *results


def _dropout_masks(
    y: Tensor, reserve: Tensor, network: Sequence[Any], options: Options
) -> list[Tensor] | None:
    """What the outputs of each layer but the last were multiplied with in an earlier call."""
    if options.dropout == 0 or options.num_layers == 1:
        return None
    restored = _restore(y, reserve, network, options)
    return [_tensor(restored.dropout_mask(layer)) for layer in range(options.num_layers - 1)]


def _forward_autograd(
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *options_and_training: Any,
) -> tuple[Tensor, list[Tensor], Tensor]:
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *state)):
        options = Options(*options_and_training[:-1])
        y, reserve, *final = _Network.apply(
            options, len(state), x, lengths, seed, *state, *weights
        )
        return y, final, reserve
    with torch._C._AutoDispatchBelowAutograd():
        result: tuple[Tensor, list[Tensor], Tensor] = forward(
            x, weights, state, lengths, seed, *options_and_training
        )
    return result


_library.impl("forward", _forward, "CPU")
_library.impl("backward", _backward, "CPU")
_library.impl("forward", _forward_autograd, "Autograd")
torch.library.register_fake("rnnfast::forward", _forward_fake, lib=_library)
torch.library.register_fake("rnnfast::backward", _backward_fake, lib=_library)
