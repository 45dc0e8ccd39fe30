"""Every optimiser with its options, and its formulas in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast

STEPS = 7
SHAPES = [(3, 5), (1,), (130, 65)]  # the last is larger than a block of the kernels
# Each optimiser, first with its defaults and then with every option.
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adagrad", {}),
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.1, "initial_accumulator_value": 0.2},
    ),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5}),
    ("RMSprop", {"momentum": 0.5, "centered": True, "eps": 1e-3}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.3}),
]
all_optimizers = pytest.mark.parametrize(
    ("name", "options"), OPTIMIZERS, ids=[f"{n}{i}" for i, (n, _) in enumerate(OPTIMIZERS)]
)
Rule = Callable[[NDArray, NDArray, dict[str, NDArray], int], NDArray]


def reals(dtype: str, *seed: int) -> list[NDArray]:
    """Return one array per shape, with values that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype("float32").astype(dtype) for s in SHAPES]


def plain_rule(name: str, options: dict[str, Any]) -> Rule:
    """Return PyTorch's documented step as a function (value, gradient, buffers, t) -> new value."""
    o = options
    decay = o.get("weight_decay", 0.01 if name == "AdamW" else 0.0)
    momentum = o.get("momentum", 0.0)

    def sgd(w: NDArray, g: NDArray, s: dict[str, NDArray], _: int) -> NDArray:
        g = g + decay * w
        if momentum:
            s["v"] = momentum * s["v"] + g
            g = g + momentum * s["v"] if o.get("nesterov") else s["v"]
        return w - o["lr"] * g

    def adagrad(w: NDArray, g: NDArray, s: dict[str, NDArray], t: int) -> NDArray:
        g = g + decay * w
        if t == 1:
            s["s"] = s["s"] + o.get("initial_accumulator_value", 0.0)
        s["s"] = s["s"] + g * g
        lr = o.get("lr", 0.01) / (1 + (t - 1) * o.get("lr_decay", 0.0))
        return w - lr * g / (np.sqrt(s["s"]) + 1e-10)

    def rmsprop(w: NDArray, g: NDArray, s: dict[str, NDArray], _: int) -> NDArray:
        g, alpha = g + decay * w, o.get("alpha", 0.99)
        s["s"] = alpha * s["s"] + (1 - alpha) * g * g
        variance = s["s"]
        if o.get("centered"):
            s["m"] = alpha * s["m"] + (1 - alpha) * g
            variance = variance - s["m"] ** 2
        s["v"] = momentum * s["v"] + g / (np.sqrt(variance) + o.get("eps", 1e-8))
        return w - 0.01 * s["v"]

    def adam(w: NDArray, g: NDArray, s: dict[str, NDArray], t: int) -> NDArray:
        lr, (beta1, beta2) = o.get("lr", 1e-3), o.get("betas", (0.9, 0.999))
        if name == "AdamW":
            w = w * (1 - lr * decay)
        else:
            g = g + decay * w
        s["m"] = beta1 * s["m"] + (1 - beta1) * g
        s["s"] = beta2 * s["s"] + (1 - beta2) * g * g
        mean, square = s["m"] / (1 - beta1**t), s["s"] / (1 - beta2**t)
        return w - lr * mean / (np.sqrt(square) + o.get("eps", 1e-8))

    return {"SGD": sgd, "Adagrad": adagrad, "RMSprop": rmsprop, "Adam": adam, "AdamW": adam}[name]


def plain_training(name: str, options: dict[str, Any], dtype: str) -> dict[str, NDArray]:
    rule = plain_rule(name, options)
    values = reals(dtype, 0)
    buffers = [{key: np.zeros_like(v) for key in "vms"} for v in values]
    for step in range(STEPS):
        gradients = reals(dtype, 1, step)
        values = [
            rule(w, g, s, step + 1) for w, g, s in zip(values, gradients, buffers, strict=True)
        ]
    return {f"p{i}": w for i, w in enumerate(values)}


def make_parameters(dtype: str) -> list[rnnfast.Parameter]:
    return [
        rnnfast.Parameter(f"p{i}", value, np.zeros_like(value))
        for i, value in enumerate(reals(dtype, 0))
    ]
