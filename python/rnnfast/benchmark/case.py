"""What is measured: a cell, a shape, a kind of call, a type and a number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnfast import functional
from rnnfast._checks import RealArray, choice, positive_int, real_dtype

MODES = {
    "inference": "a layer in evaluation mode, whose weights may stay packed between calls",
    "new-weights": "inference with weights that are new to each call",
    "training": "forward and backward with all gradients",
}


class Shape(NamedTuple):
    """Sizes of a call: T, B, I, H."""

    seq_len: int
    batch: int
    input_size: int
    hidden_size: int

    def __str__(self) -> str:
        return ",".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Shape:
        """The shape that `str` wrote.

        Raises:
            ValueError: `text` is not four positive integers with commas between them.
        """
        sizes = text.split(",")
        if len(sizes) != 4 or not all(size.strip().isdecimal() for size in sizes):
            raise ValueError(f"shape: expected T,B,I,H, four integers, got {text!r}")
        return cls(*(positive_int("shape", int(size)) for size in sizes))


@dataclass(frozen=True)
class Case:
    """One line of a benchmark: one layer in one direction, with biases.

    Args:
        cell: One of `rnnfast.functional.cells()`.
        shape: T, B, I, H.
        mode: One of `MODES`.
        dtype: "float32" or "float64".
        threads: Of rnnfast and of each peer.

    Raises:
        ValueError: The cell, mode or number of threads is wrong.
        TypeError: The dtype is wrong.
    """

    cell: str
    shape: Shape
    mode: str = "inference"
    dtype: str = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        choice("cell", self.cell, functional.cells())
        choice("mode", self.mode, MODES)
        real_dtype("dtype", self.dtype)
        positive_int("threads", self.threads)

    def __str__(self) -> str:
        return f"{self.cell} {self.shape} {self.mode} {self.dtype} {self.threads}t"

    @property
    def training(self) -> bool:
        """Whether gradients are computed."""
        return self.mode == "training"

    @property
    def flops(self) -> int:
        """Operations of the matrix products: 2 T B (I + H) G H, and twice that for gradients."""
        T, B, I, H = self.shape
        forward = 2 * T * B * (I + H) * functional.cells()[self.cell].gates * H
        return 3 * forward if self.training else forward

    @property
    def least_bytes(self) -> int:
        """Bytes of weights, x and y, and of their gradients: the least that a call must move."""
        T, B, I, H = self.shape
        gates = functional.cells()[self.cell].gates
        values = gates * H * (I + H) + T * B * (I + H)
        return (2 if self.training else 1) * values * np.dtype(self.dtype).itemsize


class Data(NamedTuple):
    """Arrays of a case; the gradients of the final states are zero."""

    x: RealArray  # (T, B, I)
    weights: functional.Weights
    dy: RealArray  # (T, B, H)


def make_data(case: Case) -> Data:
    """Random data: x and dy standard normal, weights uniform in +-1/sqrt(H), as layers begin."""
    T, B, I, H = case.shape
    info = functional.cells()[case.cell]
    rng = np.random.default_rng(0)
    rows = info.gates * H

    def uniform(*shape: int) -> RealArray:
        return rng.uniform(-(H**-0.5), H**-0.5, shape).astype(case.dtype)

    return Data(
        rng.standard_normal((T, B, I)).astype(case.dtype),
        functional.Weights(
            uniform(rows, I),
            uniform(rows, H),
            uniform(rows),
            uniform(rows),
            uniform(info.params, H) if info.params else None,
        ),
        rng.standard_normal((T, B, H)).astype(case.dtype),
    )
