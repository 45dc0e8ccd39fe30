"""Networks computed step by step with operations of JAX, by `jax.lax.scan`.

This path serves derivatives in forward mode, derivatives of gradients, and devices other than the
CPU. It applies the equations of a `Cell` to JAX's arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rnnfast._engine import known
from rnnfast.jax.call import Arrays, Call
from rnnfast.reference import Cell, tape
from rnnfast.reference.cell import Inputs, named_blocks


def _maximum(a: Any, b: Any) -> Any:
    # jnp.maximum would split the gradient between equal values.
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def _minimum(a: Any, b: Any) -> Any:
    return jnp.where((a <= b) | jnp.isnan(a), a, b)


def _normalize(v: Any, eps: float = 1e-5) -> Any:
    centred = v - v.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + eps)


for _kind in (jax.core.Tracer, type(jnp.zeros(()))):
    tape.sigmoid.register(_kind, jax.nn.sigmoid)
    tape.tanh.register(_kind, jnp.tanh)
    tape.relu.register(_kind, jax.nn.relu)
    tape.exp.register(_kind, jnp.exp)
    tape.log.register(_kind, jnp.log)
    tape.softplus.register(_kind, jax.nn.softplus)
    tape.where.register(_kind, jnp.where)
    tape.maximum.register(_kind, _maximum)
    tape.minimum.register(_kind, _minimum)
    tape.normalize.register(_kind, _normalize)


class _Product:
    """Row blocks of a weight matrix times an operand, like `rnnfast.reference.cell.Product`."""

    def __init__(self, weight: Any, bias: Any, gates: int) -> None:
        self._weight, self._bias, self._gates = weight, bias, gates

    def __call__(self, operand: Any, *gates: int) -> list[Any]:
        """Return a (..., H) product for each of `gates`, or for all gates without arguments."""
        chosen = named_blocks(gates, self._gates)
        if not chosen:
            return []
        weight, bias = (
            v if v is None or not gates else jnp.concatenate([self._block(v, g) for g in gates])
            for v in (self._weight, self._bias)
        )
        products: list[Any] = jnp.split(_linear(operand, weight, bias), len(chosen), -1)
        return products

    def _block(self, values: Any, gate: int) -> Any:
        size = len(values) // self._gates
        return values[gate * size : (gate + 1) * size]


def _linear(operand: Any, weight: Any, bias: Any = None) -> Any:
    product = jnp.matmul(operand, weight.T, precision=jax.lax.Precision.HIGHEST)
    return product if bias is None else product + bias


def forward(*operands: Any, call: Call, unroll: int = 1) -> Arrays:
    """Return y and the final states of a network, as the engine does.

    Args:
        operands: The arrays of the call.
        call: What the call is; its precision is ignored.
        unroll: The steps that one iteration of XLA's loop makes.
    """
    cell = known.cell_named(call.cell)
    x, weights, state, lengths = call.parts(operands)
    if not state:
        state = [jnp.zeros(shape, x.dtype) for shape in call.state_shapes(x.shape[1])]
    running = None
    if lengths is not None:
        running = (jnp.arange(x.shape[0])[:, None] < lengths)[..., None]
    final = []
    for first in range(0, len(weights), call.num_directions):
        outputs = []
        for k in range(first, first + call.num_directions):
            initial = tuple(s[k] for s in state)
            y, last = _run(cell, x, weights[k], initial, running, k > first, unroll)
            outputs.append(y)
            final.append(last)
        x = jnp.concatenate(outputs, -1)
    return [x, *(jnp.stack(one) for one in zip(*final, strict=True))]


def _run(
    cell: Cell,
    x: Any,
    weights: Sequence[Any],
    state: tuple[Any, ...],
    running: Any,
    reverse: bool,
    unroll: int,
) -> tuple[Any, tuple[Any, ...]]:
    """Run one layer in one direction; return its outputs and final states.

    `running` (T, B, 1) is True for the sequences that include a step; None if all do.
    """
    w_ih, w_hh, b_ih, b_hh, w_channel, w_hr = weights
    recurrent: Any = _Product(w_hh, b_hh, cell.recurrent_blocks)
    channel = [] if w_channel is None else list(w_channel)

    def step(old: tuple[Any, ...], of_step: Any) -> tuple[tuple[Any, ...], Any]:
        gates, x_t, runs = of_step
        inputs: Any = Inputs(gates, x_t if cell.reads_input else None)
        new: Any = cell.advance(inputs, recurrent, old, channel)
        if w_hr is not None:
            new = _linear(new[0], w_hr), *new[1:]
        if runs is None:
            return new, new[0]
        y = jnp.where(runs, new[0], 0)
        return tuple(jnp.where(runs, n, o) for n, o in zip(new, old, strict=True)), y

    inputs = _Product(w_ih, b_ih, cell.gates)(x)
    steps = inputs, x, running
    last, y = jax.lax.scan(step, state, steps, reverse=reverse, unroll=unroll)
    return y, last
