"""Lists of cases that cover every path of the drivers, for tests of whole networks."""

from __future__ import annotations

import itertools
import random

import cases
from cases import Case
from rnnfast import functional
from rnnfast._engine.known import COMPILED
from rnnfast.reference import CELLS

DTYPES = ("float32", "float64")


def grid() -> list[Case]:
    """Combine every cell, dtype, direction, lengths and hidden size; draw the other options."""
    draw = random.Random(1)
    return [
        Case(
            cell,
            dtype=dtype,
            D=directions,
            lengths=lengths,
            H=hidden,
            T=draw.choice((1, 2, 5, 11)),
            B=draw.choice((1, 2, 5, 9, 19)),
            I=draw.choice((1, 4, 17, 35)),
            L=draw.choice((1, 2, 3)),
            bias=draw.random() < 0.7,
            indices=draw.random() < 0.3,
        )
        for cell, dtype, directions, lengths, hidden in itertools.product(
            CELLS, DTYPES, (1, 2), (False, True), cases.HIDDEN_SIZES
        )
    ]


def options() -> list[Case]:
    """Combine every cell, number of layers, bias and kind of input at one size."""
    return [
        Case(cell, H=10, L=layers, bias=bias, indices=indices)
        for cell, layers, bias, indices in itertools.product(
            CELLS, (1, 2, 3), (False, True), (False, True)
        )
    ]


def large() -> list[Case]:
    """Return cases beyond one tile, block or chunk: wide layers, many rows, long sequences."""
    sizes = (
        {"T": 3, "B": 70, "I": 40, "H": 130},
        {"T": 4, "B": 3, "I": 300, "H": 257},
        {"T": 270, "B": 2, "I": 9, "H": 20},
        {"T": 2, "B": 300, "I": 3, "H": 5},
    )
    return [Case(cell, dtype=dtype, **size) for cell in CELLS for dtype in DTYPES for size in sizes]


def projected() -> list[Case]:
    """Return cases with a projection narrower or wider than a vector, and wider than the state."""
    sizes = (
        {"T": 5, "B": 3, "I": 4, "H": 8, "P": 1},
        {"T": 11, "B": 9, "I": 17, "H": 33, "P": 3, "L": 2, "D": 2, "lengths": True},
        {"T": 7, "B": 40, "I": 5, "H": 70, "P": 17, "L": 2},
        {"T": 6, "B": 5, "I": 3, "H": 33, "P": 70, "D": 2, "indices": True},
        {"T": 90, "B": 7, "I": 8, "H": 130, "P": 101, "lengths": True, "bias": False},
        {"T": 3, "B": 1, "I": 300, "H": 257, "P": 64, "L": 3},
    )
    cells = [name for name in COMPILED if functional.cells()[name].projects]
    return [Case(cell, dtype=dtype, **size) for cell in cells for dtype in DTYPES for size in sizes]


def all_of_float32() -> list[Case]:
    """Return all cases in float32, and a depth beyond one block of the input product."""
    listed = (*grid(), *large(), *projected())
    deep = (Case(cell, T=2, I=1100, H=17) for cell in CELLS)
    return [*(case for case in listed if case.dtype == "float32"), *deep]
