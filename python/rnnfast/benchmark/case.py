"""Benchmark cases: a cell, a shape, a kind of call, a dtype and a number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np

import rnnfast
from rnnfast import functional
from rnnfast._engine.checks import RealArray, choice, positive_int

MODES = {
    "inference": "a layer in evaluation mode, whose weights may stay packed between calls",
    "new-weights": "inference with weights that are new to each call",
    "training": "forward and backward with all gradients",
}


# The difference that is allowed between contestants, relative to the largest value of an array:
# 1000 machine epsilons, as rounding accumulates over the steps; 16 for bfloat16, since peers also
# round states and results.
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
        """Parse the result of `str`.

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
        weight_shapes(self.cell, self.shape.input_size, self.shape.hidden_size)  # is there a cell?
        choice("mode", self.mode, MODES)
        choice("dtype", self.dtype, AGREEMENT)
        positive_int("threads", self.threads)

    def __str__(self) -> str:
        return f"{self.cell} {self.shape} {self.mode} {self.dtype} {self.threads}t"

    @property
    def training(self) -> bool:
        """Whether the case computes gradients."""
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
        """Operations of the products: 2 T B per matrix element, and twice that for gradients."""
        T, B, _, _ = self.shape
        forward = 2 * T * B * self._matrix_size
        return 3 * forward if self.training else forward

    @property
    def least_bytes(self) -> int:
        """Bytes of weights, x and y, and of their gradients: the least that a call must move.

        bfloat16 weights that stay packed between calls take two bytes each.
        """
        T, B, I, H = self.shape
        size = np.dtype(self.array_dtype).itemsize
        halved = self.dtype == "bfloat16" and self.mode == "inference"
        weights = self._matrix_size * (2 if halved else size)
        return (2 if self.training else 1) * (weights + T * B * (I + H) * size)

    @property
    def _matrix_size(self) -> int:
        """Number of elements of weight_ih and weight_hh."""
        shapes = weight_shapes(self.cell, self.shape.input_size, self.shape.hidden_size)
        return prod(shapes["weight_ih"]) + prod(shapes["weight_hh"])


@cache
def weight_shapes(cell: str, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a layer by the names of `rnnfast.functional.Weights`.

    They come from a layer, which also works in revisions without `cells()[cell].shapes`.
    """
    layer = rnnfast.Recurrent(cell, input_size, hidden_size)
    return {name.removesuffix("_l0"): w.shape for name, w in layer.state_dict().items()}


class Data(NamedTuple):
    """Arrays of a case; the gradients of the final states are zero."""

    x: RealArray  # (T, B, I)
    weights: functional.Weights
    dy: RealArray  # (T, B, H)


def make_data(case: Case) -> Data:
    """Draw x and dy from a normal distribution, weights uniformly from +-1/sqrt(H) like layers."""
    T, B, I, H = case.shape
    rng = np.random.default_rng(0)

    def uniform(shape: tuple[int, ...]) -> RealArray:
        return rng.uniform(-(H**-0.5), H**-0.5, shape).astype(case.array_dtype)

    x = rng.standard_normal((T, B, I)).astype(case.array_dtype)
    weights = {name: uniform(shape) for name, shape in weight_shapes(case.cell, I, H).items()}
    dy = rng.standard_normal((T, B, H)).astype(case.array_dtype)
    return Data(x, functional.Weights(**weights), dy)
