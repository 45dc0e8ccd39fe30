"""The module of layers alone, which needs no compiler: MADMOM names the unpacked source."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def arrays_of(gates: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}.{key}".strip("."): value
        for name, gate in gates.items()
        for key, value in vars(gate).items()
        if isinstance(value, np.ndarray)
    }


def cases() -> list[dict[str, Any]]:
    package = types.ModuleType("nn")
    package.__path__ = [os.environ["MADMOM"] + "/madmom/ml/nn"]
    sys.modules["nn"] = package
    from nn import layers as mm

    x, result = numbers(T, B, I, seed=0), []
    for activation in ("tanh", "sigmoid"):
        layer = mm.RecurrentLayer(
            numbers(I, H, seed=1), numbers(H, seed=2), numbers(H, H, seed=3),
            getattr(mm, activation),
        )  # fmt: skip
        y = np.stack([layer.activate(x[:, b]) for b in range(B)], axis=1)
        weights = arrays_of({"": layer})
        result.append(
            case("madmom 0.16.1", "madmom", "RecurrentLayer", weights, y, activation=activation)
        )

    def gate(kind: Any, seed: int, **more: Any) -> Any:
        return kind(
            numbers(I, H, seed=seed), numbers(H, seed=seed), numbers(H, H, seed=seed + 100), **more
        )

    for peepholes in (False, True):
        more = [
            {"peephole_weights": numbers(H, seed=50 + k)} if peepholes else {} for k in range(3)
        ]
        gates = {
            "input_gate": gate(mm.Gate, 1, **more[0]),
            "forget_gate": gate(mm.Gate, 2, **more[1]),
            "cell": gate(mm.Cell, 3),
            "output_gate": gate(mm.Gate, 4, **more[2]),
        }
        y = np.stack([mm.LSTMLayer(**gates).activate(x[:, b]) for b in range(B)], axis=1)
        layers = "LSTMLayer with peepholes" if peepholes else "LSTMLayer"
        result.append(case("madmom 0.16.1", "madmom", layers, arrays_of(gates), y))
    gates = {
        "reset_gate": gate(mm.Gate, 1),
        "update_gate": gate(mm.Gate, 2),
        "cell": gate(mm.GRUCell, 3),
    }
    y = np.stack([mm.GRULayer(**gates).activate(x[:, b]) for b in range(B)], axis=1)
    result.append(case("madmom 0.16.1", "madmom", "GRULayer", arrays_of(gates), y))
    return result
