"""Traced cells on the engine: every cell of the zoo, in both real types, with odd sizes."""

from __future__ import annotations

import pytest

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
