"""The choice of the instruction set: each gives right results, a wrong name is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast.reference import CELLS

SUPPORTED = rnnfast.cpu_info()["isas_supported"]
SMALL = [Case(cell, T=3, B=5, I=6, H=19, L=2, D=2, lengths=True) for cell in CELLS]
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import cases, numpy, rnnfast, test_dispatch
results = {
    f"{case.cell} {name}": values
    for case in test_dispatch.SMALL
    for name, values in cases.run_engine(case).items()
}
numpy.savez(sys.argv[2], isa=rnnfast.cpu_info()["isa"], **results)
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter with additional environment variables."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("isa", rnnfast.cpu_info()["isas_compiled"])
def test_each_instruction_set_matches_the_reference(isa: str, tmp_path: Path) -> None:
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU does not support {isa}")
    file = tmp_path / "results.npz"
    child = python(CHILD, str(Path(__file__).parent), str(file), RNNFAST_ISA=isa)
    assert child.returncode == 0, child.stderr
    with np.load(file) as stored:
        assert stored["isa"] == isa
        for case in SMALL:
            expected = cases.run_reference(case)
            got = {name: stored[f"{case.cell} {name}"] for name in expected}
            cases.assert_close(got, expected, cases.plain_errors(case), case)


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 "])
def test_unknown_instruction_set_is_refused_at_import(name: str) -> None:
    child = python("import rnnfast", RNNFAST_ISA=name)
    assert child.returncode != 0
    assert f"RNNFAST_ISA: expected one of {', '.join(SUPPORTED)}" in child.stderr
    assert f"got '{name}'" in child.stderr


def test_empty_variable_means_the_best() -> None:
    child = python("import rnnfast; print(rnnfast.cpu_info()['isa'])", RNNFAST_ISA="")
    assert child.stdout.strip() == SUPPORTED[0], child.stderr


def test_cpu_info() -> None:
    info = rnnfast.cpu_info()
    assert info["isa"] in SUPPORTED
    assert set(SUPPORTED) <= set(info["isas_compiled"])
    assert info["vector_bits"] in (128, 256, 512)
    assert info["threads"] == rnnfast.get_num_threads()
    assert info["cpus"] >= 1
    assert info["cpu"]
