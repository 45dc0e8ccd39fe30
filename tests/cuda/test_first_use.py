"""Cells that are not compiled ahead: traced ones, whose kernels use a printed header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from recurrent_cases import errors, run

import cases
from cases import Case
from rnnfast import cuda, traced
from rnnfast._engine import backends
from rnnfast.cells import ZOO
from rnnfast.cuda._engine import Engine

# Each of them has a feature that the others lack.
CELLS = {
    "mgu": "a gate that two stages use",
    "mut1": "the input itself, and gates without a product",
    "mut2": "an operand, h, of two stages",
    "lem": "row blocks in another order than gates",
    "cornn": "a state beyond h that is multiplied",
    "intersection_rnn": "no product of h",
    "recurrent_highway_3": "gates without a part of the input",
    "lstm_hard_keras3": "minimum, maximum",
    "ugrnn": "one product, as compiled cells",
}
WITHOUT_TENSOR_CORES = {
    "indrnn": "no products",
    "highway_layer": "the input itself, and no products",
    "scrn": "a first stage without products",
    "lstm_fgr": "more gates than tensor cores make",
}
EACH = pytest.mark.skipif(
    os.environ.get("RNNFAST_TEST_FIRST_USE") != "all",
    reason="takes 10 s a cell where nothing is compiled yet; RNNFAST_TEST_FIRST_USE=all runs it",
)
EVERY = Case("", T=3, B=11, H=37, I=5, D=2, lengths=True)
NETWORK = Case("", T=3, B=3, H=37, I=5, L=2, D=2, lengths=True)


@pytest.fixture
def backend(device: str) -> Iterator[Engine]:
    """Return an engine on which tests choose the kernel."""
    found = backends.get(device)
    assert isinstance(found, Engine)
    yield found
    found.kernel = None
    cuda.set_float32_matmul_precision("highest", device)


def check(backend: Engine, case: Case, kernel: str, products: str) -> None:
    """Compare all results with the reference."""
    backend.kernel = kernel
    backend.matmul_precision = "high" if products == "bfloat16x3" else "highest"
    if ZOO[case.cell].reads_input:  # inputs must have the state's size in every layer
        case = replace(case, I=case.H, D=1 if case.L > 1 else case.D)
    if products == "bfloat16":
        case = replace(case, precision="bfloat16")
    cases.assert_close(run(backend, case), cases.run_reference(case), errors(case, products), case)


@pytest.mark.parametrize("kernel", ["grid", "gemm"])
@pytest.mark.parametrize("cell", [*CELLS, *WITHOUT_TENSOR_CORES])
def test_cells_agree_with_the_reference(backend: Engine, cell: str, kernel: str) -> None:
    for case in (EVERY, NETWORK):
        check(backend, replace(case, cell=cell), kernel, "full")
    check(backend, replace(EVERY, cell=cell), kernel, "bfloat16")


@pytest.mark.parametrize(
    ("kernel", "products"),
    [("block", "bfloat16x3"), ("cluster", "bfloat16"), ("flags", "bfloat16")],
)
@pytest.mark.parametrize(
    "cell",
    [
        cell if cell in ("mut1", "lem", "recurrent_highway_3") else pytest.param(cell, marks=EACH)
        for cell in CELLS
    ],
)
def test_cells_on_tensor_cores(backend: Engine, cell: str, kernel: str, products: str) -> None:
    for case in (EVERY, NETWORK):
        check(backend, replace(case, cell=cell), kernel, products)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("cell", ZOO)
def test_every_cell_of_the_zoo(backend: Engine, cell: str) -> None:
    if traced.compile(ZOO[cell]).norms:
        pytest.skip("normalises, which has no kernels")
    check(backend, replace(EVERY, cell=cell), "grid", "full")


def test_indices_reach_gates_in_any_order(backend: Engine) -> None:
    check(backend, replace(EVERY, cell="lem", indices=True, lengths=False), "gemm", "full")


def test_a_kernel_is_compiled_once(backend: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(EVERY, cell="mgu")
    check(backend, case, "grid", "full")
    monkeypatch.setattr(backend, "compiled", lambda _: pytest.fail("compiled again"))
    check(backend, case, "grid", "full")


@pytest.mark.parametrize("cell", WITHOUT_TENSOR_CORES)
def test_plans_say_which_cells_tensor_cores_take(cell: str) -> None:
    reason = "at most 8 gates" if cell == "lstm_fgr" else "needs products in every stage"
    with pytest.raises(ValueError, match=f"flags .*{reason}"):
        cuda.explain(cell, 5, 16, 64, 64, "bfloat16", device="H100", kernel="flags")
    assert cuda.explain(cell, 5, 16, 64, 64, "bfloat16", device="H100").forward.kernel in (
        "grid",
        "gemm",
    )


def test_cells_without_products_wait_for_nobody() -> None:
    plan = cuda.explain("indrnn", 5, 64, 64, 4096, device="H100").forward
    assert plan.kernel == "grid"
    assert not plan.cooperative
    assert plan.shared_bytes == 0


def test_norms_have_no_kernels(backend: Engine) -> None:
    with pytest.raises(traced.CellError, match="normalises over the units runs only on the CPU"):
        run(backend, replace(EVERY, cell="layer_norm_gru"))
