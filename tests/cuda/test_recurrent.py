"""Every recurrent kernel of every cell against the float64 reference, in several schedules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from device_kernels import SCHEDULES
from numpy.typing import NDArray

import cases
from cases import Case
from rnnfast import cuda, functional
from rnnfast._engine.backend import get as engine
from rnnfast.cuda._engine import Engine
from rnnfast.reference import CELLS

# Odd sizes: hidden units that fill no tile, several tiles of the batch and of units, T and B of 1.
CASES = (
    Case("", T=4, B=3, H=37, L=2, D=2, lengths=True),
    Case("", T=3, B=11, H=70, indices=True),
    Case("", T=2, B=5, H=130),  # warps that share the depth unevenly
    Case("", T=1, B=1, H=17, bias=False),
)
SMALLEST = Case("", T=2, B=2, I=1, H=1)

# The kernels and what they multiply: float32, bfloat16, or float32 as pairs of bfloat16.
KERNELS = [(kernel, p) for kernel in ("grid", "gemm") for p in ("full", "bfloat16")]
KERNELS += [(k, p) for k in ("block", "cluster", "flags") for p in ("bfloat16x3", "bfloat16")]

# A value as two of bfloat16 is off by 2^-18 of it, and the product of the second two is left out,
# which is as if each factor were off by 2^-19 more.
PAIR_ERROR = 2.0**-17


@pytest.fixture(params=KERNELS, ids="-".join)
def kernel(request: pytest.FixtureRequest, device: str) -> Iterator[tuple[Engine, str]]:
    """An engine that runs one kernel alone, and what that multiplies."""
    name, products = request.param
    on = engine(device)
    assert isinstance(on, Engine)
    on.kernel = name
    if products == "bfloat16x3":
        cuda.set_float32_matmul_precision("high", device)
    yield on, products
    on.kernel = None
    cuda.set_float32_matmul_precision("highest", device)


def run(on: Engine, case: Case) -> dict[str, NDArray]:
    """Results of a forward and backward pass, on the host."""
    d = cases.make_data(case)

    def put(arrays: tuple[NDArray | None, ...]) -> list[NDArray | None]:
        return [None if a is None else on.asarray(a.copy()) for a in arrays]

    y, state, reserve = functional.forward(
        case.cell,
        on.asarray(d.x.copy()),
        [functional.Weights(*put(w)) for w in d.weights],
        put(d.state),
        lengths=d.lengths,
        training=True,
        **case.options,
    )
    assert reserve is not None
    dx, dstate, dweights = functional.backward(reserve, d.dy, d.dstate, need_dx=not case.indices)
    results = cases.named(y, state, dx, dstate, dweights, case.D)
    return {name: on.to_host(array) for name, array in results.items()}


def paired(run: int) -> object:
    """The error of pairs of bfloat16, drawn anew for each run."""
    rng = np.random.default_rng(run)
    return lambda x: (x * (1 + PAIR_ERROR * rng.uniform(-1, 1, x.shape))).astype(x.dtype)


def errors(case: Case, products: str) -> dict[str, float]:
    """Largest error that plain code makes with such products."""
    if products != "bfloat16x3":
        return cases.plain_errors(case)
    exact, plain = cases.run_reference(case), cases.plain_errors(case)
    for i in range(3):
        result = cases.run_reference(case, "float32", rounding=paired(i))
        plain = {n: max(e, cases.worst(result[n], exact[n])) for n, e in plain.items()}
    return plain


@pytest.mark.parametrize("cell", CELLS)
def test_every_kernel_agrees_with_the_reference(kernel: tuple[Engine, str], cell: str) -> None:
    on, products = kernel
    small = (
        () if on.kernel in ("cluster", "flags") else (SMALLEST,)
    )  # those need two slices of units
    for i, unnamed in enumerate((*CASES, *small)):
        precision = "bfloat16" if products == "bfloat16" else "full"
        case = replace(unnamed, cell=cell, precision=precision)
        if on.kernel == "block":  # has the weights of all units in one block
            case = replace(case, H=min(case.H, 40))
        expected, plain = cases.run_reference(case), errors(case, products)
        for schedule in (SCHEDULES[i], SCHEDULES[-1 - i % 2]):
            if on.name != "cuda":
                on.extension.set_schedule(*schedule)
            cases.assert_close(run(on, case), expected, plain, case)


def test_results_do_not_depend_on_the_schedule(kernel: tuple[Engine, str]) -> None:
    on, products = kernel
    precision = "bfloat16" if products == "bfloat16" else "full"
    for cell in ("lstm", "mut3"):
        case = replace(CASES[0], cell=cell, precision=precision)
        first = run(on, case)
        for schedule in SCHEDULES[1:] if on.name != "cuda" else [None] * 3:
            if schedule is not None:
                on.extension.set_schedule(*schedule)
            cases.assert_identical(run(on, case), first)


def test_precisions_of_float32_have_names(device: str) -> None:
    assert cuda.get_float32_matmul_precision(device) == "highest"
    with pytest.raises(ValueError, match=r"precision: expected one of highest, high, m"):
        cuda.set_float32_matmul_precision("low", device)
