"""Traced cells on the engine: every cell of the zoo, in both real types, with odd sizes."""

from __future__ import annotations

import numpy as np
import pytest

import rnnfast
import traced_cases
from rnnfast.cells import ZOO
from rnnfast.traced import compile as compile_cell
from rnnfast.traced.engine import define

EVERY_CELL = ZOO | traced_cases.OTHERS


@pytest.fixture(scope="module", params=EVERY_CELL)
def cell(request: pytest.FixtureRequest) -> str:
    """Return a cell that the engine knows as "traced " followed by its name."""
    define(compile_cell(EVERY_CELL[request.param]), f"traced {request.param}")
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (4, 3, 5, 17), (3, 11, 9, 40)], ids=str)
def test_the_engine_computes_what_the_reference_does(
    cell: str, sizes: tuple[int, int, int, int], dtype: str
) -> None:
    T, B, I, H = sizes
    traced_cases.assert_engine_as_reference(
        EVERY_CELL[cell], f"traced {cell}", dtype, T=T, B=B, I=I, H=H
    )


@pytest.mark.parametrize("size", [1, 17, 40])
def test_lanes_without_a_unit_change_nothing_in_bfloat16(size: int) -> None:
    """Compare gradients with those of full precision."""
    rng = np.random.default_rng(size)
    x, dy = rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 3, size))
    state = rng.choice([-1.0, 1.0], (1, 3, size))
    gradients = []
    for precision in ("full", "bfloat16"):
        layer = rnnfast.Recurrent(
            traced_cases.OTHERS["poles"], 5, size, precision=precision, seed=size
        )
        layer(x, state)
        gradients.append([layer.backward(dy)[0], *(p.grad for p in layer.parameters())])
    for full, rounded in zip(*gradients, strict=True):
        # Factors are rounded by 2^-9 of themselves; four steps and products in a row do it again.
        assert np.abs(full - rounded).max() <= 2**-9 * 4 * 4 * np.abs(full).max()
