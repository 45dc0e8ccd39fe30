"""The engine's kernels under ThreadSanitizer and AddressSanitizer, from source and from PTX.

ThreadSanitizer sees each CUDA thread as a thread, ordered only by CUDA's synchronisation. It finds
races in shared and in global memory almost regardless of the schedule.

RNNFAST_TEST_SANITIZERS in the environment chooses the cells: `few` takes minutes and runs two cells
whose kernels cover all paths; `all` runs every cell and takes up to eight minutes per test.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("pybind11", reason="builds of the engine need pybind11")


from device_kernels import SCHEDULES
from engine import FEW_CELLS, all_cells, build_engine
from kernel_jobs import Job, run_jobs
from recurrent_cases import KERNELS

from rnnfast.reference import CELLS

CHOICE = os.environ.get("RNNFAST_TEST_SANITIZERS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHOICE is None, reason="RNNFAST_TEST_SANITIZERS is not set"),
]
assert CHOICE in (None, "few", "all"), f"RNNFAST_TEST_SANITIZERS: expected few or all, got {CHOICE}"


def jobs(cells: list[str], *, clusters: bool = True) -> list[Job]:
    """Return jobs for every kernel of every cell; each kernel meets all schedules."""
    some = [Job("dense", policy=policy, seed=seed) for policy, seed in SCHEDULES]
    turn = 0
    for kernel, products in KERNELS:
        if kernel == "cluster" and not clusters:
            continue
        for cell in cells:
            for wide in (False, True) if cell in FEW_CELLS and kernel != "block" else (False,):
                policy, seed = SCHEDULES[turn % len(SCHEDULES)]
                turn += 1
                some.append(Job(kernel, cell, products, policy, seed, check=True, wide=wide))
    return some


def check(jobs: list[Job], engine: Path, sanitizer: str) -> None:
    wrong = [
        f"{job}: {outcome.error}\n{outcome.report}"
        for job, outcome in zip(jobs, run_jobs(jobs, engine, sanitizer), strict=True)
        if outcome.error or outcome.report
    ]
    assert not wrong, "\n\n".join(wrong[:3])


def check_all(sanitizer: str, architecture: int | None = None) -> None:
    """Build the engine from its source or from nvcc's PTX of it, and run its kernels."""
    path = build_engine(
        f"{CHOICE}_{architecture or 'source'}",
        sanitizer=sanitizer,
        architecture=architecture,
        cells=FEW_CELLS.values() if CHOICE == "few" else all_cells(),
    )
    cells = list(FEW_CELLS if CHOICE == "few" else CELLS)
    some = jobs(cells, clusters=architecture is None or architecture >= 90)
    check(some, path, sanitizer)


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_kernels(sanitizer: str) -> None:
    check_all(sanitizer)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_what_nvcc_makes_of_them(sanitizer: str, architecture: int) -> None:
    check_all(sanitizer, architecture)
