"""The share of saturated gates: values of sigmoid and tanh where these functions are nearly flat.

The gates of a cell are those named values of its step (`known.named_values`) that a sigmoid or a
tanh computes, states among them.

A sigmoid counts as saturated below 0.1 and above 0.9, a tanh below -0.9 and above 0.9; the first is
saturated *low* (the gate is closed), the second *high*. The bounds of sigmoids are those of
Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks", 2015.

Sizes: B batch, I input_size, H hidden_size, N numbers of all states of a sequence together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast import traced
from rnnfast._engine import known
from rnnfast.functional import Weights
from rnnfast.inspection.scaled import Array
from rnnfast.reference import Cell, Network
from rnnfast.traced.description import canonical, describe, without_mask

_BOUNDS = {"sigmoid": (0.1, 0.9), "tanh": (-0.9, 0.9)}
_AT_ONCE = 7  # gates that one cell returns in place of its states, of which it has at most 8


@dataclass(frozen=True, eq=False)
class Saturation:
    """How often the units of a gate are saturated.

    Attributes:
        function: "sigmoid" or "tanh".
        low: (H,) the share of all steps of all sequences in which a unit is below the lower bound.
        high: (H,) the share in which it is above the upper bound.
    """

    function: str
    low: Array
    high: Array

    @property
    def share(self) -> float:
        """The share of saturated values of all units."""
        return float((self.low + self.high).mean())


class SaturationCounts:
    """Counts of saturated values of one layer in one direction, over all steps that it is given.

    Args:
        cell: The name of the cell.
        weights: The weights in float64.
        parts: Where each state is in a row of N numbers.
    """

    def __init__(self, cell: str, weights: Weights, parts: Sequence[slice]) -> None:
        self._weights, self._parts = weights, parts
        self._observers = _observers(cell)
        self._counts = {
            name: np.zeros((2, weights.hidden_size))
            for one in self._observers
            for name in one.gates
        }
        self._steps = 0

    def add(self, x: NDArray[Any], state: Array) -> None:
        """Count the values in steps with the inputs (B, I), or (B,) indices, and states (B, N)."""
        self._steps += len(x)
        states = [state[None, :, part] for part in self._parts]
        nothing = np.zeros((1, len(x), self._weights.hidden_size))
        for cell, gates in self._observers:
            initial = [*states, *[nothing] * (cell.states - len(states))]
            _, *values = Network(cell, x[None], [self._weights], initial).state
            for (name, function), (value,) in zip(gates.items(), values, strict=False):
                low, high = _BOUNDS[function]
                self._counts[name] += (value < low).sum(axis=0), (value > high).sum(axis=0)

    def result(self) -> dict[str, Saturation]:
        """Return the shares for each gate, by name."""
        steps = max(1, self._steps)
        return {
            name: Saturation(function, *(self._counts[name] / steps))
            for one in self._observers
            for name, function in one.gates.items()
        }


class _Observer(NamedTuple):
    """A cell that returns gates of another cell: its states are h, these gates, and unused ones."""

    cell: Cell
    gates: dict[str, str]  # the function of each gate by its name


@lru_cache(64)
def _observers(name: str) -> list[_Observer]:
    """Return cells that together return every value of a cell that a sigmoid or tanh computes."""
    named = known.named_values(name)
    states = dict(zip(named.states, named.equations.results, strict=True))
    values = {**states, **named.values}
    plain = canonical(without_mask(named.equations._replace(results=tuple(values.values()))))
    gates = {n: v for n, v in zip(values, plain.results, strict=True) if v.op in _BOUNDS}
    h, old = plain.results[0], named.equations.states
    observers = []
    for first in range(0, len(gates), _AT_ONCE):
        part = dict(list(gates.items())[first : first + _AT_ONCE])
        results = (h, *part.values(), *[h] * (old - 1 - len(part)))
        cell = traced.cell_of(describe(plain._replace(results=results, states=len(results))))
        observers.append(_Observer(cell, {n: node.op for n, node in part.items()}))
    return observers
