"""The recurrent layers that a trace runs, and the values that it takes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._core import NetworkOptions
from rnnfast._engine import backends, checks, known, network, noise
from rnnfast._engine.checks import IntArray
from rnnfast._engine.network import Weights
from rnnfast.layers.recurrent import Recurrent
from rnnfast.traced import Named


@dataclass(frozen=True)
class Network:
    """Recurrent layers as they compute in evaluation.

    Attributes:
        cell: The name of the cell.
        weights: Those of each layer and direction, on the CPU.
        num_layers: L.
        bidirectional: Whether D is 2.
        precision: The precision of the products.
        zoneout: The probability, for each state, that a unit keeps its value.
    """

    cell: str
    weights: Sequence[Weights]
    num_layers: int
    bidirectional: bool
    precision: str
    zoneout: tuple[float, ...]

    @classmethod
    def of(cls, layer: Recurrent[Any]) -> Network:
        """Return the network of a layer."""
        states = known.cell_named(layer.cell).states
        zoneout = layer.zoneout
        return cls(
            layer.cell,
            [
                Weights(*(None if w is None else backends.to_host(w) for w in weights))  # type: ignore[arg-type]
                if layer._backend is not backends.CPU
                else weights
                for weights in layer._weights
            ],
            layer.num_layers,
            layer.bidirectional,
            layer.precision,
            zoneout if isinstance(zoneout, tuple) else (zoneout,) * states,
        )

    @property
    def named(self) -> Named:
        """The states and values of a step, by name."""
        return known.named_values(self.cell)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all states and values."""
        return (*self.named.states, *self.named.values)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of all values."""
        return self.weights[0].weight_ih.dtype

    @property
    def gates(self) -> tuple[str, ...]:
        """The names of all states and values but the sums that gates are functions of."""
        named = self.named
        return (*named.states, *(name for name in named.values if name not in named.sums))

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.weights[0].hidden_size

    def width(self, value: str) -> int:
        """Return the number of units of a value."""
        return (value == "h" and self.weights[0].proj_size) or self.hidden_size

    def state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """Return the shape of each state of all layers: (L*D, B, H), or (L*D, B, P)."""
        options = self.options(self.cell, self.num_layers, self.bidirectional)
        return network.state_shapes(options, batch, self.hidden_size, self.weights[0].proj_size)

    def options(self, cell: str, num_layers: int, bidirectional: bool = False) -> NetworkOptions:
        """Return the options of calls that keep what a trace reads, of the cell or a form of it.

        Raises:
            ValueError: The precision is for evaluation only.
        """
        if self.precision not in checks.TRAINED_PRECISIONS:
            raise ValueError(
                f"precision: expected one of {', '.join(checks.TRAINED_PRECISIONS)}, as a trace "
                f"needs what only calls in training keep, got {self.precision!r}"
            )
        drawn = noise.Noise(self.zoneout, 0.0, 0.0, expects=True) if any(self.zoneout) else None
        return network.network_options(
            cell, num_layers, bidirectional, training=True, precision=self.precision, noise=drawn
        )


@dataclass(frozen=True)
class Selection:
    """What a trace takes.

    Attributes:
        values: Names of values; None for states and gates.
        units: Numbers of units; None for all.
    """

    values: tuple[str, ...] | None
    units: IntArray | None

    @classmethod
    def of(
        cls, values: Sequence[str] | None, units: ArrayLike | None, networks: Iterable[Network]
    ) -> Selection:
        """Check a selection from some networks.

        Raises:
            ValueError: A name is none of any network, or a unit is none of all networks.
            TypeError: `values` are not strings, or `units` not integers.
        """
        networks = list(networks)
        chosen = None if values is None else _checked_values(values, networks)
        if units is None:
            return cls(chosen, None)
        numbers = checks.integer_array("units", units)
        end = min(n.width(name) for n in networks for name in n.names)
        if numbers.ndim != 1 or not numbers.size or numbers.min() < 0 or numbers.max() >= end:
            raise ValueError(
                f"units: expected a list of numbers in [0, {end}), the units of the layers, got "
                f"{units}"
            )
        return cls(chosen, numbers)

    def names(self, of: Network) -> tuple[str, ...]:
        """Return the names of the values to take of a network."""
        if self.values is None:
            return of.gates
        return tuple(name for name in self.values if name in of.names)


def _checked_values(values: Sequence[str], networks: list[Network]) -> tuple[str, ...]:
    listed = isinstance(values, Iterable) and not isinstance(values, str)
    if not listed or not all(isinstance(name, str) for name in values):
        raise TypeError(f'values: expected names, such as ("h", "c"), got {values!r}')
    there = {name: None for n in networks for name in n.names}
    for name in values:
        if name not in there:
            cells = ", ".join(sorted({repr(n.cell) for n in networks}))
            raise ValueError(
                f"values: expected names out of {', '.join(there)}, those of cell {cells}, got "
                f"{name!r}"
            )
    return tuple(dict.fromkeys(values))
