"""The engine as operators of PyTorch: `rnnfast::forward`, `::backward` and `::states`.

All that passes between them is tensors. The reserve, too, is a tensor of bytes: autograd,
`torch.compile`, checkpointing and hooks on saved tensors may keep it, copy it, move it or make it
again, and nothing has to be looked up or freed.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnfast import _core, functional
from rnnfast._checks import RealArray
from rnnfast.torch import stepwise
from rnnfast.torch.options import Options, by_layer


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
_library.define(f"states(Tensor y, Tensor reserve, {_NETWORK}) -> Tensor[]")
forward = torch.ops.rnnfast.forward.default
backward = torch.ops.rnnfast.backward.default
states = torch.ops.rnnfast.states.default  # those beyond h after every step, of each layer


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


def _states(
    y: Tensor,
    reserve: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *values: Any,
) -> list[Tensor]:
    options = Options(*values)
    restored = _restore(y, reserve, (x, weights, state, lengths, seed), options)
    return [
        _tensor(restored.states_over_time(cell, state))
        for cell in range(options.num_layers * options.num_directions)
        for state in range(1, restored.states)
    ]


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
    H, D = weights[1].shape[1], options.num_directions
    # How many bytes is the engine's business, and depends on the CPU.
    size = torch.library.get_ctx().new_dynamic_size() if training else 0
    states = functional.cells()[options.cell].states
    final = [x.new_empty((options.num_layers * D, B, H)) for _ in range(states)]
    return x.new_empty((T, B, D * H)), final, x.new_empty(size, dtype=torch.uint8)


def _states_fake(
    y: Tensor,
    reserve: Tensor,  # noqa: ARG001
    x: Tensor,  # noqa: ARG001
    weights: Sequence[Tensor],
    state: Sequence[Tensor],  # noqa: ARG001
    lengths: Tensor | None,  # noqa: ARG001
    seed: Tensor | None,  # noqa: ARG001
    *values: Any,
) -> list[Tensor]:
    options = Options(*values)
    T, B, _ = y.shape
    beyond_h = functional.cells()[options.cell].states - 1
    count = options.num_layers * options.num_directions * beyond_h
    return [y.new_empty((T, B, weights[1].shape[1])) for _ in range(count)]


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


def _save(
    ctx: Any,
    options: Options,
    network: tuple[Tensor, list[Tensor], list[Tensor], Tensor | None, Tensor | None],
    y: Tensor,
    reserve: Tensor,
) -> None:
    x, weights, state, lengths, seed = network
    ctx.options, ctx.states = options, len(state)
    ctx.save_for_backward(y, reserve, x, lengths, seed, *state, *weights)
    ctx.set_materialize_grads(False)


def _saved(ctx: Any) -> tuple[Tensor, Tensor, tuple[Any, ...]]:
    """y, the reserve and the network's arguments."""
    y, reserve, x, lengths, seed, *tensors = ctx.saved_tensors
    return y, reserve, (x, tensors[ctx.states :], tensors[: ctx.states], lengths, seed)


def _backward_by_steps(
    ctx: Any,
    outputs_of: stepwise.Outputs,
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, states and weights, themselves differentiable."""
    y, reserve, network = _saved(ctx)
    x, weights, state, lengths, _ = network
    masks = None
    if ctx.options.dropout and ctx.options.num_layers > 1:
        restored = _restore(y, reserve, network, ctx.options)
        masks = [_tensor(restored.dropout_mask(i)) for i in range(ctx.options.num_layers - 1)]
    return stepwise.backward(
        ctx.options, x, weights, state, lengths, masks, outputs_of, gradients, needed
    )


class _Forward(torch.autograd.Function):
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
        network = x, list(tensors[states:]), list(tensors[:states]), lengths, seed
        with torch._C._AutoDispatchBelowAutograd():
            y, final, reserve = forward(*network, *options, True)
        _save(ctx, options, network, y, reserve)
        ctx.mark_non_differentiable(reserve)
        return y, reserve, *final

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor | None, _dreserve: None, *dfinal: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        _, _, need_dx, _, _, *needed = ctx.needs_input_grad
        if torch.is_grad_enabled():
            dx, *others = _backward_by_steps(
                ctx, lambda y, final, _: [y, *final], [dy, *dfinal], [need_dx, *needed]
            )
        else:
            y, reserve, network = _saved(ctx)
            others = backward(dy, dfinal, y, reserve, need_dx, *network, *ctx.options)
            dx = others.pop(0) if need_dx else None
        return None, None, dx, None, None, *others


class _States(torch.autograd.Function):
    """The states beyond h after every step; their gradient is made step by step."""

    @staticmethod
    def forward(
        ctx: Any,
        options: Options,
        states_given: int,
        y: Tensor,
        reserve: Tensor,
        x: Tensor,
        lengths: Tensor | None,
        seed: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        network = x, list(tensors[states_given:]), list(tensors[:states_given]), lengths, seed
        with torch._C._AutoDispatchBelowAutograd():
            results = states(y, reserve, *network, *options)
        _save(ctx, options, network, y, reserve)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        _, _, _, _, need_dx, _, _, *needed = ctx.needs_input_grad
        dx, *others = _backward_by_steps(
            ctx,
            lambda _y, _final, over_time: [s for of_layer in over_time for s in of_layer[1:]],
            gradients,
            [need_dx, *needed],
        )
        return None, None, None, None, dx, None, None, *others


def _differentiable(x: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor]) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *state))


def _forward_autograd(
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *options_and_training: Any,
) -> tuple[Tensor, list[Tensor], Tensor]:
    if _differentiable(x, weights, state):
        options = Options(*options_and_training[:-1])
        y, reserve, *final = _Forward.apply(
            options, len(state), x, lengths, seed, *state, *weights
        )
        return y, final, reserve
    with torch._C._AutoDispatchBelowAutograd():
        result: tuple[Tensor, list[Tensor], Tensor] = forward(
            x, weights, state, lengths, seed, *options_and_training
        )
    return result


def _states_autograd(
    y: Tensor,
    reserve: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *options: Any,
) -> list[Tensor]:
    if _differentiable(x, weights, state):
        return list(
            _States.apply(
                Options(*options), len(state), y, reserve, x, lengths, seed, *state, *weights
            )
        )
    with torch._C._AutoDispatchBelowAutograd():
        results: list[Tensor] = states(y, reserve, x, weights, state, lengths, seed, *options)
    return results


for _name, _kernel, _fake in (
    ("forward", _forward, _forward_fake),
    ("backward", _backward, _backward_fake),
    ("states", _states, _states_fake),
):
    _library.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"rnnfast::{_name}", _fake, lib=_library)
_library.impl("forward", _forward_autograd, "Autograd")
_library.impl("states", _states_autograd, "Autograd")
