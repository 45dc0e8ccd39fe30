"""Single steps of a cell whose weights stay the same from step to step, as in a decoder's loop.

Steps share two things for as long as their weights do not change. The first is the packed copy that
the kernels read. The second is a node of the autograd graph, the gateway, through which all steps
get the weights. Backward of a step adds the gradients of the weights to sums inside the engine and
returns none; PyTorch runs backward of the gateway after those of all steps, and it writes the sums
once. A loop thus never adds up matrices of gradients in PyTorch.

Sums belong to one pass of backward, so graphs may be retained, run in parts, or share a gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnfast import _core, functional
from rnnfast.torch import ops, paths, stepwise
from rnnfast.torch.network import Network, Options, memory_of

_FEW_BYTES = 1 << 15  # up to which comparing weights takes as long as sampling them
_tensor = torch.from_numpy
_engine = torch.autograd.Variable._execution_engine


class KeptWeights:
    """A cache of one entry: the weights of the last step, and what steps share.

    Weights are taken as unchanged if they are the same tensors with the same memory, if PyTorch has
    counted no change, and if their values are the same, of which large weights are only sampled.
    Copies and unpickled objects start empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[object, Weights] | None = None

    def get(self, tensors: Sequence[Tensor], options: Options) -> Weights | None:
        """Return what steps share; None for inference tensors, which do not count changes."""
        if any(w.is_inference() for w in tensors):
            return None
        key = options, [(id(w), w.data_ptr(), w._version, w.requires_grad) for w in tensors]
        kept = self._kept
        if kept is not None and kept[0] == key and kept[1].has_same_values():
            return kept[1]
        weights = Weights(tensors, options)
        # Weights that are computed for each call would keep their graph alive.
        self._kept = (key, weights) if all(w.is_leaf for w in tensors) else None
        return weights

    def __reduce__(self) -> tuple[type[KeptWeights], tuple[()]]:
        return KeptWeights, ()


class Weights:
    """Weights that do not change, and what steps share.

    Attributes:
        packed: The packed copy.
        sums: The sums of gradients, which backward of the gateway writes.
    """

    def __init__(self, tensors: Sequence[Tensor], options: Options) -> None:
        aliases = [w.detach() for w in tensors]  # these keep the memory alive, and so the key valid
        arrays = options.by_layer([*map(memory_of, aliases)])[0]
        self._aliases = aliases
        self._copies: list[Tensor] | None = None
        if sum(w.nbytes for w in aliases) <= _FEW_BYTES:
            self._copies = [w.clone() for w in aliases]
        self._sampled = arrays[:2]
        self._fingerprint = _core.fingerprint(*self._sampled)
        self._gateway: Tensor | None = None
        self._tensors = tensors
        self.packed = functional.pack(
            options.cell, [functional.Weights(*arrays)], precision=options.precision
        )
        self.sums = _Sums(tensors, options, self.packed)

    def has_same_values(self) -> bool:
        """Return whether the values, or samples of many, are those that were packed."""
        if self._copies is not None:
            return all(map(torch.equal, self._aliases, self._copies))
        return bool(_core.fingerprint(*self._sampled) == self._fingerprint)

    def gateway(self) -> Tensor:
        """Return the output of the gateway, a tensor without elements."""
        if self._gateway is None:
            self._gateway = _Gateway.apply(self.sums, *self._tensors)
        return self._gateway


class _Sums:
    """The gradients of weights, summed over the steps that a pass of backward has done."""

    def __init__(
        self, tensors: Sequence[Tensor], options: Options, packed: functional.Packed
    ) -> None:
        self.options = options
        self.tensors = tensors
        self._packed = packed
        self._wanted = options.by_layer([w.requires_grad for w in tensors])[0]
        self._versions = [w._version for w in tensors]
        # By pass: a StepGradient, or a list of gradients that are differentiable themselves.
        self._of_pass: dict[int, Any] = {}

    def in_engine(self) -> _core.StepGradient:
        """Return the sums of this pass, which the engine computes."""
        sums = self._of_pass.get(task := torch._C._current_graph_task_id())
        if sums is None:
            self._check_unchanged()
            arrays = self.options.by_layer([memory_of(w.detach()) for w in self.tensors])
            sums = _core.step_gradient(self._packed, arrays, self._wanted)
            self._keep(task, sums)
        return sums

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add gradients that are differentiable themselves."""
        sums = self._of_pass.get(task := torch._C._current_graph_task_id())
        if sums is None:
            self._check_unchanged()
            return self._keep(task, list(gradients))
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                sums[i] = gradient if sums[i] is None else sums[i] + gradient
        return None

    def take(self) -> Sequence[Tensor | None]:
        """Return the sums of this pass, and forget them."""
        sums = self._of_pass.pop(torch._C._current_graph_task_id(), None)
        if sums is None:  # no step had a gradient
            return [None] * len(self.tensors)
        if isinstance(sums, list):
            return sums
        places = self.options.by_layer(range(len(self.tensors)))[0]
        found = dict(zip(places, sums.gradients(), strict=True))
        return [
            None if found[place] is None else _tensor(found[place])
            for place in range(len(self.tensors))
        ]

    def _keep(self, task: int, sums: Any) -> None:
        self._of_pass[task] = sums
        # The gateway takes no part in a pass that only wants other gradients.
        _engine.queue_callback(partial(self._of_pass.pop, task, None))

    def _check_unchanged(self) -> None:
        for tensor, version in zip(self.tensors, self._versions, strict=True):
            if tensor._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: weights of shape {tuple(tensor.shape)} are at version "
                    f"{tensor._version}; expected version {version} instead"
                )


class _Gateway(torch.autograd.Function):
    """Hands weights to steps, and gets their gradients from the sums."""

    @staticmethod
    def forward(ctx: Any, sums: _Sums, *weights: Tensor) -> Tensor:
        ctx.sums = sums
        ctx.set_materialize_grads(False)
        return weights[0].new_empty(0)

    @staticmethod
    def backward(ctx: Any, _gateway: None) -> tuple[Tensor | None, ...]:
        return None, *ctx.sums.take()


class _Step(torch.autograd.Function):
    """A step in training; the gradient of its gradient is computed by PyTorch operations."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: Weights,
        _gateway: Tensor,
        x: Tensor,
        context: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        final, memory = _forward(weights.packed, x, state, context, True)
        ctx.sums = weights.sums
        ctx.save_for_backward(_tensor(memory), x, context, *state)
        ctx.set_materialize_grads(False)
        return tuple(map(_tensor, final))

    @staticmethod
    def backward(ctx: Any, *dfinal: Tensor | None) -> tuple[Tensor | None, ...]:
        memory, x, context, *state = ctx.saved_tensors
        _, _, need_dx, need_dcontext, *need_dstate = ctx.needs_input_grad
        sums: _Sums = ctx.sums
        if all(d is None for d in dfinal):
            return (None,) * len(ctx.needs_input_grad)
        if torch.is_grad_enabled() or any(map(_is_batched, dfinal)):
            network = _network(x, state, sums.tensors, context)
            of_context = [] if context is None else [need_dcontext]
            found = _differentiable(sums, network, dfinal, [need_dx, *need_dstate, *of_context])
            dx, dinitial, dcontext = found
            return None, None, dx, dcontext, *dinitial
        if memory.data_ptr() % 64:
            memory = memory.clone()  # PyTorch aligns the memory that it allocates
        dgates = None
        if context is not None and need_dcontext:
            dgates = np.zeros_like(memory_of(context))
        dx, dinitial = sums.in_engine().add(
            memory_of(x),
            [memory_of(s) for s in state] or None,
            memory_of(memory),
            [None if d is None else memory_of(d) for d in dfinal],
            need_dx,
            torch.get_num_threads(),
            dgates,
        )
        of_state = map(_tensor, dinitial[: len(state)])
        dcontext = None if dgates is None else _tensor(dgates)
        return None, None, _tensor(dx) if need_dx else None, dcontext, *of_state


def run(
    x: Tensor,
    state: Sequence[Tensor],
    weights: list[Tensor],
    options: Options,
    kept: KeptWeights,
    context: Tensor | None = None,
) -> Sequence[Tensor]:
    """Take a step.

    Args:
        x: (B, I).
        state: (B, H) of each state of the cell; empty for zeros.
        weights: weight_ih, weight_hh, bias_ih, bias_hh and weight_channel, without those that the
            cell lacks.
        options: The options of a network of one layer and direction.
        kept: What earlier steps of the module left.
        context: (B, G*H), what a context adds to the gates; None for none.

    Returns:
        The new states, (B, H) each.
    """
    given = [x, *state] if context is None else [x, *state, context]
    if ops.direct([*given, *weights]) and not stepwise.needed():
        shared = kept.get(weights, options)
        if shared is not None:
            if torch.is_grad_enabled() and any(t.requires_grad for t in (*given, *weights)):
                new: tuple[Tensor, ...] = _Step.apply(shared, shared.gateway(), x, context, *state)
                return new
            return [*map(_tensor, _forward(shared.packed, x, state, context, False)[0])]
    network = _network(x, state, weights, context)
    return [s[0] for s in paths.run(network, options)[1]]


def _is_batched(gradient: Tensor | None) -> bool:
    """Return whether `vmap` runs a pass of backward for several gradients at once."""
    of_vmap = torch._C._functorch
    return gradient is not None and (
        of_vmap.is_legacy_batchedtensor(gradient) or of_vmap.is_batchedtensor(gradient)
    )


def _network(
    x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], context: Tensor | None
) -> Network:
    """Return a step as a call of a network."""
    of_context = () if context is None else (context,)
    return Network(x[None], weights, [s[None] for s in state], None, None, None, of_context)


def _forward(
    packed: functional.Packed,
    x: Tensor,
    state: Sequence[Tensor],
    context: Tensor | None,
    keep: bool,
) -> Any:
    """Return the new states and what backward needs, as arrays."""
    arrays = [memory_of(s) for s in state] or None
    of_context = None if context is None else memory_of(context)
    threads = torch.get_num_threads()
    return _core.step_forward(packed, memory_of(x), arrays, threads, keep, of_context)


def _differentiable(
    sums: _Sums,
    network: Network,
    dfinal: Sequence[Tensor | None],
    needed: list[bool],
) -> tuple[Tensor | None, list[Tensor | None], Tensor | None]:
    """Return differentiable gradients of x, the states and the context.

    Those of the weights are added to the sums. `needed` is about the former.
    """
    end = len(needed)
    needed = [*needed, *(w.requires_grad for w in sums.tensors)]
    given = [None if d is None else d[None] for d in dfinal]
    found = stepwise.backward(
        network, sums.options, None, None, lambda _y, final, _: final, given, needed
    )
    sums.add(found[end:])
    count = 1 + len(network.state)
    dx, *dinitial = [None if d is None else d[0] for d in found[:count]]
    return dx, dinitial, found[count] if network.context else None
