"""The engine as operators of PyTorch: `rnnfast::forward`, `::backward` and `::states`.

They only exchange tensors. Even the reserve is a tensor of bytes: autograd, `torch.compile`,
checkpointing and hooks on saved tensors may keep, copy, move or recompute it, and nothing has to be
looked up or freed.

The rest of the package calls `forward` and `states` below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnfast.torch import flops, kernels, stepwise
from rnnfast.torch.kernels import Outputs
from rnnfast.torch.network import Network, Options, split
from rnnfast.torch.prepacked import Prepacked

_NETWORK = (  # Network, then Options
    "Tensor x, Tensor[] weights, Tensor[] state, Tensor? lengths, Tensor? reset, "
    "Tensor? seed, Tensor[] context, "
    "str cell, int num_layers, bool bidirectional, bool bias, float dropout, str precision, "
    "float[] zoneout, float input_dropout, float recurrent_dropout, "
    "float candidate_dropout, bool expects"
)
_SCHEMAS = {
    "forward": f"({_NETWORK}, bool keep) -> (Tensor y, Tensor[] final, Tensor reserve)",
    "backward": f"({_NETWORK}, Tensor reserve, Tensor? dy, Tensor?[] dstate, bool need_dx) "
    "-> Tensor[]",
    "states": f"({_NETWORK}, Tensor reserve) -> Tensor[]",
}
_library = torch.library.Library("rnnfast", "DEF")


def overload_of(schemas: Mapping[str, str]) -> str:
    """Return a name for the overloads of the operators that changes with any of their schemas.

    PyTorch caches compiled graphs on disk under the operators that the model itself calls:
    `forward` with its overload, but not `backward`, which autograd adds. With a fixed name, a graph
    from another release of rnnfast could call `backward` with the wrong arguments.

    The name is also what PyTorch shows if it loads an exported program without rnnfast, so it says
    what such a program needs.
    """
    return (
        "needs_rnnfast_torch_v"
        + hashlib.sha256(repr(sorted(schemas.items())).encode()).hexdigest()[:8]
    )


def _define(name: str, overload: str) -> torch._ops.OpOverload:
    _library.define(f"{name}.{overload}{_SCHEMAS[name]}")
    return getattr(getattr(torch.ops.rnnfast, name), overload)


OPERATORS = {name: _define(name, overload_of(_SCHEMAS)) for name in _SCHEMAS}
"""The operators by name, for calls without the resolution of overloads."""


def forward(
    network: Network,
    options: Options,
    keep: bool = False,
    prepacked: Prepacked | None = None,
) -> Outputs:
    """Run a network.

    Args:
        network: The tensors.
        options: The options of the network.
        keep: Whether to return the reserve even if nothing needs a gradient.
        prepacked: Holds packed weights between calls that cannot be part of training.

    Returns:
        y (T, B, D*H), or (T, B, D*P), the final states, and the reserve as bytes. Callers may
        change y and the final states in place, as backward reads neither.
    """
    if direct(network.differentiable):
        if prepacked and not (keep or options.draws or _needs_gradient(network)):
            packed = prepacked.get(network.weights, options)
            return kernels.forward(network, options, False, packed)
        return _forward_autograd(kernels.forward, network, options, keep)
    return OPERATORS["forward"](*network, *options, keep)  # type: ignore[no-any-return]


def states(network: Network, options: Options, reserve: Tensor) -> list[Tensor]:
    """Return the states beyond h after every step of an earlier call, (T, B, H) each.

    They are ordered by layer, then by direction, and are zero beyond the end of a sequence.
    """
    return OPERATORS["states"](*network, *options, reserve)  # type: ignore[no-any-return]


def direct(tensors: Sequence[Tensor]) -> bool:
    """Return whether to call kernels without PyTorch's dispatcher, which costs 7 us per call.

    This requires plain tensors, and that nothing observes or transforms calls of operators.
    """
    return (
        not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._get_tracing_state() is None
        and not torch.autograd._profiler_enabled()
        and all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors)
    )


def not_in_onnx(cell: str, context_size: int = 0) -> Exception:
    """Return the error for a layer that PyTorch's ONNX exporters cannot write."""
    if context_size:
        return NotImplementedError(
            "torch.onnx.export: expected layers with context_size = 0, as ONNX's operators have no "
            f"contexts, got {context_size}"
        )
    return NotImplementedError(
        "torch.onnx.export: expected a cell that ONNX has or, with dynamo=False, that torch.nn has "
        f"(LSTM, GRU or RNN), got {cell!r}"
    )


# Functions that compute the shapes of results, for tracing.


def _forward_fake(network: Network, options: Options, keep: bool) -> Outputs:
    kernels.check(network, options)
    if torch.onnx.is_in_onnx_export():
        raise not_in_onnx(options.cell)
    T, B, _ = network.x.shape
    widths, D = options.widths(network.weights), options.num_directions
    # The engine decides the number of bytes, which depends on the CPU.
    size = torch.library.get_ctx().new_dynamic_size() if keep else 0
    new = network.x.new_empty
    final = [new((options.num_layers * D, B, width)) for width in widths]
    return new((T, B, D * widths[0])), final, new(size, dtype=torch.uint8)


def _backward_fake(network: Network, _options: Options, *others: Any) -> list[Tensor]:
    *_, need_dx = others
    inputs = network.differentiable
    return [t.new_empty(t.shape) for t in (inputs if need_dx else inputs[1:])]


def _states_fake(network: Network, options: Options, _reserve: Tensor) -> list[Tensor]:
    of_layer = options.widths(network.weights)[1:]
    widths = of_layer * (options.num_layers * options.num_directions)
    return [network.x.new_empty((*network.x.shape[:2], width)) for width in widths]


# Derivatives of the operators.


def _below_autograd(name: str) -> Callable[..., Any]:
    """Return a function that calls an operator without autograd, which the caller takes care of."""

    def call(network: Network, options: Options, *others: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return OPERATORS[name](*network, *options, *others)

    return call


class _Derivative(torch.autograd.Function):
    """Base class of the two functions below."""

    @staticmethod
    def save(ctx: Any, network: Network, options: Options, reserve: Tensor) -> None:
        """Save the tensors and options of a call for `saved`."""
        ctx.options, ctx.states, ctx.contexts = options, len(network.state), len(network.context)
        others = network.lengths, network.reset, network.seed
        ctx.save_for_backward(reserve, *others, *network.differentiable)
        ctx.set_materialize_grads(False)

    @staticmethod
    def saved(ctx: Any) -> tuple[Network, Options, Tensor]:
        """Return the network, options and reserve that `save` kept."""
        reserve, lengths, reset, seed, x, *tensors = ctx.saved_tensors
        end = ctx.states + ctx.contexts
        state, context, weights = tensors[: ctx.states], tensors[ctx.states : end], tensors[end:]
        return Network(x, weights, state, lengths, reset, seed, context), ctx.options, reserve

    @staticmethod
    def by_steps(
        ctx: Any,
        outputs_of: stepwise.Outputs,
        gradients: Sequence[Tensor | None],
        needed: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return differentiable gradients of x, states, context and weights."""
        network, options, reserve = _Derivative.saved(ctx)
        masks = kernels.dropout_masks(network, options, reserve) if options.dropout else None
        noise = kernels.noise_masks(network, options, reserve) if options.has_noise else None
        return stepwise.backward(network, options, masks, noise, outputs_of, gradients, needed)


class _Forward(_Derivative):
    """The call of a network; the gradient of its gradient is computed step by step."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Callable[..., Any],
        network: Network,
        options: Options,
        *_differentiable: Tensor,
    ) -> tuple[Tensor, ...]:
        y, final, reserve = kernel(network, options, True)
        _Derivative.save(ctx, network, options, reserve)
        ctx.mark_non_differentiable(reserve)
        return y, reserve, *final

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor | None, _dreserve: None, *dfinal: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        _, _, _, *needed = ctx.needs_input_grad
        if torch.is_grad_enabled():
            gradients = _Derivative.by_steps(
                ctx, lambda y, final, _: [y, *final], [dy, *dfinal], needed
            )
        else:
            call = _Derivative.saved(ctx)
            kernel = (
                kernels.backward if direct(call[0].differentiable) else _below_autograd("backward")
            )
            gradients = kernel(*call, dy, dfinal, needed[0])
            if not needed[0]:
                gradients = [None, *gradients]
        return None, None, None, *gradients


class _States(_Derivative):
    """The states beyond h after every step; their gradient is computed step by step."""

    @staticmethod
    def forward(
        ctx: Any,
        network: Network,
        options: Options,
        reserve: Tensor,
        *_differentiable: Tensor,
    ) -> tuple[Tensor, ...]:
        _Derivative.save(ctx, network, options, reserve)
        return tuple(_below_autograd("states")(network, options, reserve))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = _Derivative.by_steps(
            ctx,
            lambda _y, _final, over_time: [s for of_layer in over_time for s in of_layer[1:]],
            gradients,
            ctx.needs_input_grad[3:],
        )
        return None, None, None, *found


def _needs_gradient(network: Network) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in network.differentiable)


def _forward_autograd(
    kernel: Callable[..., Outputs], network: Network, options: Options, keep: bool
) -> Outputs:
    if not _needs_gradient(network):
        return kernel(network, options, keep)
    y, reserve, *final = _Forward.apply(kernel, network, options, *network.differentiable)
    return y, final, reserve


def _states_autograd(network: Network, options: Options, reserve: Tensor) -> list[Tensor]:
    if not _needs_gradient(network):
        return _below_autograd("states")(network, options, reserve)  # type: ignore[no-any-return]
    return list(_States.apply(network, options, reserve, *network.differentiable))


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a function of a network, options and other values into one of their flat sequence."""

    def call(*values: Any) -> Any:
        network, options, others = split(values)
        return function(network, options, *others)

    return call


def _implement(name: str, function: Callable[..., Any], key: str) -> None:
    _library.impl(f"{name}.{OPERATORS[name]._overloadname}", _operator(function), key)


for _name, _kernel, _fake in (
    ("forward", kernels.forward, _forward_fake),
    ("backward", kernels.backward, _backward_fake),
    ("states", kernels.states, _states_fake),
):
    _implement(_name, _kernel, "CPU")
    torch.library.register_fake(OPERATORS[_name].name(), _operator(_fake), lib=_library)
_implement("forward", partial(_forward_autograd, _below_autograd("forward")), "Autograd")
_implement("states", _states_autograd, "Autograd")
flops.register()
