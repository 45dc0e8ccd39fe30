"""The share of saturated gates, by the names of the gates."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import init
from rnnfast.cells import sigmoid, tanh

T, B, I, H = 4, 2, 3, 4


@pytest.mark.parametrize(
    ("cell", "gates"), [("lstm", "ifgo"), ("gru", "rzn"), ("ugrnn", "cg"), ("rnn_relu", "")]
)
def test_saturated_shares_are_those_of_biases(cell: str, gates: str) -> None:
    """Without weights, the first sums are the biases, and every unit keeps to its side."""
    layer: rnnfast.Recurrent = rnnfast.Recurrent(cell, I, H, dtype="float64", seed=1)
    for name, values in layer.state_dict().items():
        getattr(layer, name)[:] = np.zeros_like(values)
    layer.bias_ih_l0[:] = np.tile([-9.0, 0.0, 2.0, 2.5], len(layer.bias_ih_l0.value) // H)
    x = np.zeros((T, 3, I))
    found = rnnfast.gradient_flow(layer, x, None, lengths=[T, 2, 0], sequence=None)["l0"]
    assert list(found.saturation) == list(gates)
    for name, gate in found.saturation.items():
        high = {"sigmoid": [0, 0, 0, 1], "tanh": [0, 0, 1, 1]}[gate.function]
        assert (gate.low.tolist(), gate.high.tolist()) == ([1, 0, 0, 0], high), name
        assert gate.share == (1 + sum(high)) / H
    nothing = rnnfast.gradient_flow(layer, x[:0], None, sequence=None)["l0"]
    assert [gate.share for gate in nothing.saturation.values()] == [0.0] * len(gates)


def test_saturated_shares_are_those_of_traced_gates() -> None:
    """A cell with more gates than can be computed at once."""

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> Any:
        (h,) = state
        gates = [sigmoid(3 * a) for a in x[:9]]
        n = tanh(x[9] + recurrent(h)[0])
        return (tanh(h) + n * reduce(add, gates),)

    cell = rnnfast.Cell("many_gates", step, gates=10, recurrent_gates=1)
    layer: rnnfast.Recurrent = rnnfast.Recurrent(cell, I, H, dtype="float64", seed=1)
    x = 3 * np.random.default_rng(0).standard_normal((7, B, I))
    values = rnnfast.trace(layer, x)["l0"]
    found = rnnfast.gradient_flow(layer, x, None, sequence=None)["l0"].saturation
    assert set(found) == {*(f"gates[{k}]" for k in range(9)), "n"}
    for name, gate in found.items():
        low, high = (0.1, 0.9) if name != "n" else (-0.9, 0.9)
        np.testing.assert_allclose(gate.low, (values[name] < low).mean(axis=(0, 1)))
        np.testing.assert_allclose(gate.high, (values[name] > high).mean(axis=(0, 1)))
        assert 0 < gate.share < 1


def test_the_share_of_saturated_values_counts_steps() -> None:
    layer = rnnfast.RNN(1, H, bias=False, dtype="float64", seed=1)
    init.zeros_(layer.weight_hh_l0)
    layer.weight_ih_l0[:] = 1.0
    x = np.array([0.0, 2.0, -2.0, 3.0, 1.0]).reshape(5, 1, 1)  # tanh(1) = 0.76, tanh(2) = 0.96
    (gate,) = rnnfast.gradient_flow(layer, x, None)["l0"].saturation.values()
    assert (gate.low.tolist(), gate.high.tolist()) == ([0.2] * H, [0.4] * H)
