"""How a gradient changes from step to step: singular values, gates and initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import rnnfast
from rnnfast import init

from .tasks import adding, set_chrono, set_irnn

H = 64  # hidden units
Curves = dict[str, list[float]]  # log10 of the norm of the gradient after each step, by name


def singular_values(T: int, seed: int) -> tuple[list[dict[str, float]], Curves]:
    """Scale the recurrent matrix of a tanh RNN so that all of its singular values are s.

    With states at 0, the slope of tanh is 1 and the gradient must change by a factor of s per step.
    With inputs, the slope is below 1: then s only bounds the factor.
    """
    rows, curves = [], {}
    for s in (0.8, 1.0, 1.2):
        layer = rnnfast.RNN(1, H, bias=False, dtype="float64", seed=seed)
        init.orthogonal_(layer.weight_hh_l0, s, seed=seed)
        at_zero = final_gradient(layer, np.zeros((T, 1, 1)), seed)
        driven = final_gradient(layer, np.random.default_rng(seed).normal(size=(T, 1, 1)), seed)
        rows.append(
            {
                "singular value": s,
                "factor per step": factor(at_zero),
                f"gradient after {T} steps": float(np.exp(at_zero[0] - at_zero[-1])),
                "predicted": s**T,
                "factor per step, with inputs": factor(driven),
            }
        )
        curves[f"s = {s}"] = in_powers_of_ten(at_zero)
        curves[f"s = {s}, with inputs"] = in_powers_of_ten(driven)
    return rows, curves


def forget_gates(T: int, seed: int) -> tuple[list[dict[str, float]], Curves]:
    """Open the forget gate of an LSTM by its bias: the gradient of c must change by f per step."""
    rows, curves = [], {}
    for bias in (0.0, 1.0, 3.0, 7.0):
        layer = rnnfast.LSTM(1, H, dtype="float64", seed=seed)
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            init.zeros_(getattr(layer, name))  # so that the gate is the same in all steps
        init.unit_forget_bias_(layer, bias)
        gradient = np.random.default_rng(seed).normal(size=(1, 1, H))
        x = np.random.default_rng(seed).normal(size=(T, 1, 1))
        flow = rnnfast.gradient_flow(layer, x, None, dstate=(None, gradient), sequence=None)["l0"]
        log_norms = flow.log_norms["c"][:, 0]
        f = 1 / (1 + np.exp(-bias))
        rows.append(
            {
                "bias": bias,
                "f": f,
                "factor per step": factor(log_norms),
                f"gradient of c after {T} steps": float(np.exp(log_norms[0] - log_norms[-1])),
                "predicted": f**T,
                "steps to 1/e": float(flow.memory[0]),
            }
        )
        curves[f"f = {f:.4f}"] = in_powers_of_ten(log_norms)
    return rows, curves


def initial_weights(T: int, seed: int) -> tuple[list[dict[str, Any]], Curves]:
    """Compare initial weights of networks that read a sequence of the adding task."""
    networks: dict[str, tuple[str, Callable[[Any], object]]] = {
        "tanh, uniform": ("rnn_tanh", lambda layer: layer),
        "tanh, orthogonal": ("rnn_tanh", lambda w: init.orthogonal_(w.weight_hh_l0, seed=seed)),
        "tanh, identity": ("rnn_tanh", lambda layer: set_irnn(layer, T, seed)),
        "ReLU, uniform": ("rnn_relu", lambda layer: layer),
        "ReLU, identity (IRNN)": ("rnn_relu", lambda layer: set_irnn(layer, T, seed)),
        "LSTM, bias 0": ("lstm", lambda layer: init.unit_forget_bias_(layer, 0.0)),
        "LSTM, bias 1": ("lstm", init.unit_forget_bias_),
        f"LSTM, chrono {T}": ("lstm", lambda layer: set_chrono(layer, T, seed)),
        f"GRU, chrono {T}": ("gru", lambda layer: set_chrono(layer, T, seed)),
    }
    rows, curves = [], {}
    for name, (cell, set_weights) in networks.items():
        layer: rnnfast.Recurrent = rnnfast.Recurrent(cell, 2, H, dtype="float64", seed=seed)
        set_weights(layer)
        x, _ = adding(np.random.default_rng(seed), T, 1)
        log_norms = final_gradient(layer, x, seed)
        rows.append(
            {
                "network": name,
                "factor per step": factor(log_norms),
                f"gradient after {T} steps": float(np.exp(log_norms[0] - log_norms[-1])),
            }
        )
        curves[name] = in_powers_of_ten(log_norms)
    return rows, curves


def final_gradient(layer: rnnfast.Recurrent[Any], x: Any, seed: int) -> Any:
    """Return the logarithm of the norm of the gradient after each step of one sequence.

    The loss depends on the last output alone.
    """
    dy = np.zeros((len(x), 1, layer.hidden_size))
    dy[-1] = np.random.default_rng(seed + 1).normal(size=dy.shape[1:])
    return rnnfast.gradient_flow(layer, x, dy, sequence=None)["l0"].log_total[:, 0]


def factor(log_norms: Any) -> float:
    """Return the mean factor by which a gradient changes per step."""
    return float(np.exp((log_norms[0] - log_norms[-1]) / (len(log_norms) - 1)))


def in_powers_of_ten(log_norms: Any) -> list[float]:
    """Return log10 of the norms by the number of steps back from the end, relative to the end."""
    return [round(float(v), 3) for v in (log_norms[::-1] - log_norms[-1]) / np.log(10)]
