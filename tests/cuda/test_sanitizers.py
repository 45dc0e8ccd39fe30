"""The engine's kernels under ThreadSanitizer and AddressSanitizer, in both tiers.

Each CUDA thread is a thread to ThreadSanitizer, ordered by CUDA's synchronisation alone, so that it
finds races in shared and in global memory almost whatever the schedule.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pybind11", reason="builds of the engine need pybind11")

from build import BUILD, ROOT
from device_kernels import SCHEDULES
from engine import FEW_CELLS, build_engine, copy_with_few_cells
from kernel_jobs import Job, run_jobs
from test_recurrent import KERNELS

from rnnfast import functional

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "RNNFAST_TEST_SANITIZERS" not in os.environ, reason="RNNFAST_TEST_SANITIZERS is not set"
    ),
]


def jobs(cells: list[str], *, clusters: bool = True) -> list[Job]:
    """Every kernel of every cell; schedules take turns, and each kernel meets all."""
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


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_kernels(sanitizer: str) -> None:
    path = build_engine(sanitizer=sanitizer)
    check(jobs(list(functional.cells())), path, sanitizer)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_what_nvcc_makes_of_them(sanitizer: str, architecture: int) -> None:
    """Of few cells, unless RNNFAST_TEST_SANITIZERS is "all": that takes 8 minutes each."""
    few = os.environ["RNNFAST_TEST_SANITIZERS"] != "all"
    cells = list(FEW_CELLS) if few else list(functional.cells())
    source = ROOT / "src"
    if few:
        source = copy_with_few_cells(BUILD / f"few_cells_{os.getpid()}" / "src")
    try:
        path = build_engine(
            "few" if few else "ptx",
            sanitizer=sanitizer,
            source_root=source,
            architecture=architecture,
        )
    finally:
        if few:
            shutil.rmtree(source.parent)
    some = jobs(cells, clusters=architecture >= 90)
    check([replace(job, cells=tuple(cells)) for job in some], path, sanitizer)
