"""What is measured: a cell, a shape, a kind of call, a type and a number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnfast import functional
from rnnfast._checks import RealArray, choice, positive_int

MODES = {
    "inference": "a layer in evaluation mode, whose weights may stay packed between calls",
    "new-weights": "inference with weights that are new to each call",
    "training": "forward and backward with all gradients",
}


# The part of an array's largest value by which contestants may differ, by type: 1000 machine
# epsilons, for rounding summed over all steps; in bfloat16, where peers round states and results,
# too, 16 of them.
AGREEMENT = {"float32": 1000 * 2.0**-23, "float64": 1000 * 2.0**-52, "bfloat16": 16 * 2.0**-7}


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
        dtype: One of `AGREEMENT`. With "bfloat16" arrays are float32 and products bfloat16.
        threads: Of rnnfast and of each peer.

    Raises:
        ValueError: The cell, mode, dtype or number of threads is wrong.
    """

    cell: str
    shape: Shape
    mode: str = "inference"
    dtype: str = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        choice("cell", self.cell, functional.cells())
        choice("mode", self.mode, MODES)
        choice("dtype", self.dtype, AGREEMENT)
        positive_int("threads", self.threads)

    def __str__(self) -> str:
        return f"{self.cell} {self.shape} {self.mode} {self.dtype} {self.threads}t"

    @property
    def training(self) -> bool:
        """Whether gradients are computed."""
        return self.mode == "training"

    @property
    def array_dtype(self) -> str:
        """The dtype of the arrays."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    @property
    def precision(self) -> str:
        """The precision of rnnfast's products."""
        return "bfloat16" if self.dtype == "bfloat16" else "full"

    @property
    def flops(self) -> int:
        """Operations of the matrix products: 2 T B (I + H) G H, and twice that for gradients."""
        T, B, I, H = self.shape
        forward = 2 * T * B * (I + H) * functional.cells()[self.cell].gates * H
        return 3 * forward if self.training else forward

    @property
    def least_bytes(self) -> int:
        """Bytes of weights, x and y, and of their gradients: the least that a call must move.

        Weights that stay packed between calls have two bytes in bfloat16.
        """
        T, B, I, H = self.shape
        gates, size = functional.cells()[self.cell].gates, np.dtype(self.array_dtype).itemsize
        halved = self.dtype == "bfloat16" and self.mode == "inference"
        weights = gates * H * (I + H) * (2 if halved else size)
        return (2 if self.training else 1) * (weights + T * B * (I + H) * size)


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
        return rng.uniform(-(H**-0.5), H**-0.5, shape).astype(case.array_dtype)

    return Data(
        rng.standard_normal((T, B, I)).astype(case.array_dtype),
        functional.Weights(
            uniform(rows, I),
            uniform(rows, H),
            uniform(rows),
            uniform(rows),
            uniform(info.params, H) if info.params else None,
        ),
        rng.standard_normal((T, B, H)).astype(case.array_dtype),
    )
