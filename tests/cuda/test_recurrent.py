"""Every recurrent kernel of every cell against the float64 reference, in several schedules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from device_kernels import SCHEDULES
from recurrent_cases import KERNELS, errors, run

import cases
from cases import Case
from rnnfast import cuda
from rnnfast._engine.backends import get as engine
from rnnfast.cuda._engine import Engine
from rnnfast.reference import CELLS

# Odd sizes: a last slice with fewer units, several slices and sub-batches, T and B of 1.
CASES = (
    Case("", T=4, B=3, H=37, L=2, D=2, lengths=True),
    Case("", T=3, B=11, H=70, indices=True),
    Case("", T=2, B=5, H=130),  # warps that share the depth unevenly
    Case("", T=1, B=1, H=17, bias=False),
)
SMALLEST = Case("", T=2, B=2, I=1, H=1)


@pytest.fixture(params=KERNELS, ids="-".join)
def kernel(request: pytest.FixtureRequest, device: str) -> Iterator[tuple[Engine, str]]:
    """Return an engine that runs only one kernel, and the kind of its products."""
    name, products = request.param
    backend = engine(device)
    assert isinstance(backend, Engine)
    backend.kernel = name
    if products == "bfloat16x3":
        cuda.set_float32_matmul_precision("high", device)
    yield backend, products
    backend.kernel = None
    cuda.set_float32_matmul_precision("highest", device)


@pytest.mark.parametrize("cell", CELLS)
def test_every_kernel_agrees_with_the_reference(kernel: tuple[Engine, str], cell: str) -> None:
    backend, products = kernel
    small = (
        () if backend.kernel in ("cluster", "flags") else (SMALLEST,)
    )  # cluster and flags need two slices of units
    for i, unnamed in enumerate((*CASES, *small)):
        precision = "bfloat16" if products == "bfloat16" else "full"
        case = replace(unnamed, cell=cell, precision=precision)
        if backend.kernel == "block":  # keeps the weights of all units in one block
            case = replace(case, H=min(case.H, 40))
        expected, plain = cases.run_reference(case), errors(case, products)
        for schedule in (SCHEDULES[i], SCHEDULES[-1 - i % 2]):
            if backend.name != "cuda":
                backend.extension.set_schedule(*schedule)
            cases.assert_close(run(backend, case), expected, plain, case)


def test_results_do_not_depend_on_the_schedule(kernel: tuple[Engine, str]) -> None:
    backend, products = kernel
    precision = "bfloat16" if products == "bfloat16" else "full"
    for cell in ("lstm", "mut3"):
        case = replace(CASES[0], cell=cell, precision=precision)
        first = run(backend, case)
        for schedule in SCHEDULES[1:] if backend.name != "cuda" else [None] * 3:
            if schedule is not None:
                backend.extension.set_schedule(*schedule)
            cases.assert_identical(run(backend, case), first)


def test_precisions_of_float32_have_names(device: str) -> None:
    assert cuda.get_float32_matmul_precision(device) == "highest"
    with pytest.raises(ValueError, match=r"precision: expected one of highest, high, m"):
        cuda.set_float32_matmul_precision("low", device)
