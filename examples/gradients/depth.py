"""How a gradient changes from layer to layer of a deep feed-forward network."""

from __future__ import annotations

from typing import Any

import numpy as np

import rnnfast
from rnnfast import init

H, BATCH = 64, 32


def through_depth(depth: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Compare plain, residual and highway layers: what part of the gradient reaches the first one.

    The gates of highway layers start nearly closed, as their paper recommends: a layer passes on
    1 - sigmoid(bias) of its input.
    """
    rows, curves = [], {}
    for name in ("plain", "residual", "highway, bias -2", "highway, bias -4"):
        layers: list[Any] = [_layer(name, seed + k) for k in range(depth)]
        values = np.random.default_rng(seed).normal(size=(1, BATCH, H))
        for layer in layers:
            y = layer(values)
            values = np.array(y[0] if isinstance(y, tuple) else y)
        gradient = np.random.default_rng(seed + 1).normal(size=values.shape)
        norms = [float(np.linalg.norm(gradient))]
        for layer in reversed(layers):
            dx = layer.backward(gradient)
            gradient = dx[0] if isinstance(dx, tuple) else dx
            norms.append(float(np.linalg.norm(gradient)))
        rows.append(
            {
                "layers": name,
                f"gradient after {depth} layers": norms[-1] / norms[0],
                "factor per layer": float((norms[-1] / norms[0]) ** (1 / depth)),
            }
        )
        curves[name] = [round(float(np.log10(norm / norms[0])), 3) for norm in norms]
    return rows, curves


def _layer(name: str, seed: int) -> Any:
    """Return a layer H -> H with tanh, PyTorch's initial weights, and what the name says."""
    if name.startswith("highway"):
        cell = rnnfast.cells.ZOO["highway_layer"]
        layer: rnnfast.Recurrent = rnnfast.Recurrent(cell, H, H, dtype="float64", seed=seed)
        init.zeros_(layer.bias_ih_l0)
        layer.bias_ih_l0[H:] = float(name.removeprefix("highway, bias "))
        return layer
    layer_of_tanh = rnnfast.Sequential(
        rnnfast.Linear(H, H, dtype="float64", seed=seed), rnnfast.Tanh()
    )
    return rnnfast.Residual(layer_of_tanh) if name == "residual" else layer_of_tanh
