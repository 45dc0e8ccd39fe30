"""A layer in one call of the engine, by the door of Keras's backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

DTYPES = "float32", "float64"
_NAMES = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"


def is_here(tensor: Any) -> bool:
    """Return whether a tensor of the backend is on the CPU, or in a program that XLA compiles."""
    return keras.config.backend() == "jax" or bool(tensor.device.type == "cpu")


def run(cell: str, x: Any, states: Sequence[Any], weights: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Run a layer with gradients.

    Args:
        cell: The name of the cell.
        x: (B, T, I).
        states: The initial states, (B, H) each.
        weights: weight_ih, weight_hh and, if there are biases, bias_ih and bias_hh.

    Returns:
        The outputs (B, T, H), and the final states.
    """
    forward = _run_jax if keras.config.backend() == "jax" else _run_torch
    y, final = forward(cell, x, [state[None] for state in states], weights)
    return y, final


def _run_jax(cell: str, x: Any, states: list[Any], weights: Sequence[Any]) -> Any:
    from rnnfast.jax import recurrent

    params = dict(zip(_NAMES, weights, strict=False))
    state = states[0] if len(states) == 1 else tuple(states)
    y, final = recurrent(cell, x, params, state, batch_first=True)
    return y, [s[0] for s in (final if isinstance(final, tuple) else (final,))]


def _run_torch(cell: str, x: Any, states: list[Any], weights: Sequence[Any]) -> Any:
    from rnnfast.torch import paths
    from rnnfast.torch.network import Network, Options

    network = Network(x.transpose(0, 1), [*weights], states, None, None, None)
    y, final = paths.run(network, Options(cell, 1, False, len(weights) > 2, 0.0, "full"))
    return y.transpose(0, 1), [s[0] for s in final]
