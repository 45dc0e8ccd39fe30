"""Data for networks of the zoo's cells: one layer, small odd sizes, states that a cell can have."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import cases
from rnnfast.reference import Cell, Network

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_channel")


class ZooData(NamedTuple):
    """The arrays of a one-layer network, in float64."""

    x: NDArray
    weights: tuple[NDArray, ...]  # of KINDS; weight_channel has no rows if the cell has no params
    state: tuple[NDArray, ...]
    dy: NDArray
    dstate: tuple[NDArray, ...]

    @property
    def inputs(self) -> dict[str, NDArray]:
        """Return all arrays that have gradients, by the name of the gradient."""
        named = {f"d{kind}": w for kind, w in zip(KINDS, self.weights, strict=True) if w.size}
        return {"dx": self.x} | named | {f"dstate[{k}]": s for k, s in enumerate(self.state)}


def make_data(cell: Cell, T: int, B: int, I: int, H: int) -> ZooData:
    """Return random data, with I = H for cells that read their input. It must not be changed."""
    rng = np.random.default_rng(zlib.crc32(cell.name.encode()))
    I = H if cell.reads_input else I
    rows, recurrent_rows = cell.gates * H, cell.recurrent_blocks * H
    shapes = ((rows, I), (recurrent_rows, H), (rows,), (recurrent_rows,), (cell.params, H))
    scales = (I**-0.5, H**-0.5, 0.2, 0.2, 0.7)
    weights = tuple(s * rng.standard_normal(n) for s, n in zip(scales, shapes, strict=True))
    state = tuple(0.5 * rng.standard_normal((1, B, H)) for _ in range(cell.states))
    state = cases.possible(cell.name, state)
    dy = rng.standard_normal((T, B, H))
    dstate = tuple(rng.standard_normal((1, B, H)) for _ in range(cell.states))
    return ZooData(rng.standard_normal((T, B, I)), weights, state, dy, dstate)


def run_reference(cell: Cell, data: ZooData) -> Network:
    """Run the reference's network on the data."""
    *matrices, channel = data.weights
    layer = (*matrices, channel if cell.params else None)
    return Network(cell, data.x, [layer], data.state)


def reference_results(cell: Cell, data: ZooData) -> dict[str, NDArray]:
    """Return y, the final states and all gradients of the reference's network, by name."""
    network = run_reference(cell, data)
    gradients = network.backward(data.dy, data.dstate)
    results = {"y": network.y} | {f"state[{k}]": s for k, s in enumerate(network.state)}
    results |= {"dx": gradients.dx} | {f"dstate[{k}]": s for k, s in enumerate(gradients.dstate)}
    named = zip(KINDS, gradients.dweights[0][: len(KINDS)], strict=True)
    return results | {f"d{kind}": g for kind, g in named if g is not None and g.size}
