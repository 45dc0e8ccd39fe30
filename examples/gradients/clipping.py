"""What clipping by norm does to gradients that explode."""

from __future__ import annotations

from typing import Any

import numpy as np

import rnnfast
from rnnfast import init

from .tasks import adding, set_irnn

H, T, BATCH, RATE = 64, 100, 32, 0.01
UNLIMITED = float(np.finfo(np.float64).max)


def clipping(updates: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Train an IRNN by plain gradient descent on the adding task, with and without clipping.

    Its recurrent matrix is the identity, or 1.05 times the identity: 1.05**100 is 131.
    """
    rows, curves = [], {}
    for gain in (1.0, 1.05):
        for name, largest in (("no", UNLIMITED), ("to 1", 1.0)):
            with np.errstate(over="ignore", invalid="ignore"):
                norms, losses = _descend(gain, largest, updates, seed)
            rows.append(
                {
                    "singular values": gain,
                    "clipped": name,
                    "largest gradient": max(norms),
                    "first losses": ", ".join(f"{loss:.3g}" for loss in losses[:3]),
                    "updates": len(losses),
                    "largest loss": max(losses),
                    "last loss": losses[-1],
                }
            )
            curves[f"{gain} I, clipped: {name}"] = [round(float(np.log10(v)), 3) for v in losses]
    return rows, curves


def _descend(
    gain: float, largest: float, updates: int, seed: int
) -> tuple[list[float], list[float]]:
    """Return the norms of all gradients and the losses; stop at a loss that is not finite."""
    layer: Any = rnnfast.RNN(2, H, nonlinearity="relu", dtype="float64", seed=seed)
    set_irnn(layer, T, seed)
    init.identity_(layer.weight_hh_l0, gain)
    head = rnnfast.Linear(H, 1, dtype="float64", seed=seed + 1)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = rnnfast.SGD(parameters, RATE)
    rng = np.random.default_rng(seed)
    norms: list[float] = []
    losses: list[float] = []
    for _ in range(updates):
        x, target = adding(rng, T, BATCH)
        y, _ = layer(x)
        loss, doutput = rnnfast.mse(head(y[-1:]), target)
        if not np.isfinite(loss):
            break
        losses.append(loss)
        dy = np.zeros_like(y)
        dy[-1:] = head.backward(doutput)
        layer.backward(dy, need_dx=False)
        norms.append(rnnfast.clip_grad_norm_(parameters, largest))
        optimizer.step(zero_grad=True)
    return norms, losses
