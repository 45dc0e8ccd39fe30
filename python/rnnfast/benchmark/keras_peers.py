"""Keras on its JAX backend as a peer, and rnnfast's door to it."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

import rnnfast
from rnnfast.benchmark import jax_peers
from rnnfast.benchmark.case import Case, Data
from rnnfast.benchmark.peer import Contestant, Results, UnavailableError, named, need


def keras(case: Case, data: Data, *, fast: bool) -> Contestant:
    """Return a layer of Keras as a contestant, compiled by JAX.

    Args:
        case: The case.
        data: Its data.
        fast: Whether to take the layer of `rnnfast.keras` instead of Keras's own.
    """
    need("keras", "jax")
    if case.precision != "full":
        raise UnavailableError("Keras is not measured with bfloat16 products")
    if not fast:
        jax_peers.check_threads(case)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if keras.config.backend() != "jax":
        raise UnavailableError(f"Keras is measured with JAX, not {keras.config.backend()}")
    T, B, I, H = case.shape
    own = rnnfast.Recurrent(case.cell, I, H, dtype=case.array_dtype)
    own.load_state_dict({f"{name}_l0": w for name, w in named(data.weights).items()})
    try:
        values = rnnfast.to_keras_weights(own)
    except ValueError:
        raise UnavailableError(f"Keras has no cell {case.cell}") from None
    layer = _layer(case.cell, H, fast, case.array_dtype)
    layer.build((B, T, I))
    others = [v.value for v in layer.non_trainable_variables]

    def run(weights: Any, x: Any) -> Any:
        y, _ = layer.stateless_call(weights, others, x.swapaxes(0, 1))
        return y.swapaxes(0, 1)

    def gradients(weights: list[Any]) -> Results:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that activations are assumed
            rnnfast.load_keras_weights(own, [np.asarray(w) for w in weights])
        found = {name.removesuffix("_l0"): value for name, value in own.state_dict().items()}
        if np.ndim(weights[-1]) == 1:  # one bias, whose gradient both biases have
            found["bias_hh"] = found["bias_ih"]
        return found

    return jax_peers.compiled(case, data, run, values, gradients)


def _layer(cell: str, units: int, fast: bool, dtype: str) -> Any:
    """Return a layer with the cell."""
    import keras

    options: dict[str, Any] = {}
    name = {"lstm": "LSTM", "gru": "GRU", "gru_reset_before": "GRU"}.get(cell, "SimpleRNN")
    if name == "GRU":
        options["reset_after"] = cell == "gru"
    if name == "SimpleRNN":
        options["activation"] = cell.removeprefix("rnn_")
    module = rnnfast.keras if fast else keras.layers
    return getattr(module, name)(units, return_sequences=True, dtype=dtype, **options)
